package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"
)

const pageRows = 30

var (
	//go:embed page.html
	pageHTML     string
	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
)

// view is what page.html shows.
type view struct {
	Report report
	Rows   []row
	None   bool // no report yet
}

type row struct {
	Rank     int
	Post     post
	Link     string // to the story
	Talk     string // to its comments
	Host     string // where the story is, unless on HackerNews
	Age      string
	Comments string // how many
}

// page returns the top stories as a web page. html/template escapes user input, and
// the policy lets no script run.
func (s *service) page(ctx context.Context, _ micro.Request) (answer, error) {
	latest, err := s.reader.latest(ctx)
	none := codeOf(err) == http.StatusNotFound
	if err != nil && !none {
		return answer{}, err
	}
	body, err := render(latest, none, time.Now())
	return answer{body: body, contentType: "text/html; charset=utf-8", header: micro.Headers{
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"},
		"Cache-Control":           {"no-cache"},
	}}, err
}

func render(r report, none bool, now time.Time) ([]byte, error) {
	v := view{Report: r, None: none}
	for n, p := range r.top(pageRows).Posts {
		talk := fmt.Sprint("https://news.ycombinator.com/item?id=", p.ID)
		shown := row{
			Rank: n + 1, Post: p, Link: p.URL, Talk: talk, Host: host(p.URL), Age: age(now.Sub(p.Time.time())),
			Comments: plural(p.Descendants, "comment"),
		}
		if shown.Link == "" {
			shown.Link = talk
		}
		v.Rows = append(v.Rows, shown)
	}
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, v)
	return out.Bytes(), err
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(u.Hostname(), "www.")
}

// age formats how long ago something was.
func age(d time.Duration) string {
	switch {
	case d < time.Minute: // or in the future: clocks differ
		return "just now"
	case d < time.Hour:
		return plural(int64(d/time.Minute), "minute") + " ago"
	case d < 48*time.Hour:
		return plural(int64(d/time.Hour), "hour") + " ago"
	}
	return plural(int64(d/(24*time.Hour)), "day") + " ago"
}

func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprint(n, " ", thing, "s")
}
