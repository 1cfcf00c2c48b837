package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"
)

// An item is what HackerNews stores under an id: a story, job, comment or poll. Only
// fields that this service uses are read.
type item struct {
	ID          int64  `json:"id"`
	Type        string `json:"type"`
	Deleted     bool   `json:"deleted"`
	Dead        bool   `json:"dead"`
	By          string `json:"by"`
	Title       string `json:"title"`
	URL         string `json:"url"`
	Score       int64  `json:"score"`
	Descendants int64  `json:"descendants"`
	Time        int64  `json:"time"`
}

// A post is a story as this service stores it, with HackerNews' field names.
type post struct {
	ID          int64  `json:"id"`
	Title       string `json:"title"`
	URL         string `json:"url,omitempty"` // empty if the story is a text on HackerNews itself
	By          string `json:"by,omitempty"`
	Score       int64  `json:"score"`
	Descendants int64  `json:"descendants"` // comments
	Time        unix   `json:"time"`
}

// A unix is a time in seconds since 1970, as HackerNews gives it. In our JSON it is RFC
// 3339; numbers, which reports had before, are read too.
type unix int64

// lastUnix is the last time that RFC 3339 can express.
const lastUnix = 253402300799 // 9999-12-31T23:59:59Z

func (u unix) time() time.Time { return time.Unix(int64(u), 0).UTC() }

// MarshalJSON writes RFC 3339.
func (u unix) MarshalJSON() ([]byte, error) { return u.time().MarshalJSON() }

// UnmarshalJSON reads RFC 3339 or a number.
func (u *unix) UnmarshalJSON(data []byte) error {
	if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
		*u = unix(n)
		return nil
	}
	var t time.Time
	err := t.UnmarshalJSON(data)
	*u = unix(t.Unix())
	return err
}

// Real titles and URLs are shorter. Without limits a single item could make the
// report too large for a message.
const (
	maxTitle = 300 // characters
	maxBy    = 50
	maxURL   = 2000 // bytes
)

// parseItem parses the requested item. A missing item is null.
func parseItem(id int64, data []byte) (item, error) {
	var i *item
	if err := parse(data, &i); err != nil {
		return item{}, err
	}
	if i == nil {
		return item{}, faultf(http.StatusNotFound, "HackerNews has no item %d", id).temporary() // a new one may not be on all servers yet
	}
	if i.ID != id {
		return item{}, faultf(http.StatusBadGateway, "HackerNews sent item %d for %d", i.ID, id).temporary()
	}
	return *i, nil
}

// parse parses JSON of HackerNews. Truncated JSON is worth a retry, a wrong type is
// not.
func parse(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		return faultf(http.StatusBadGateway, "HackerNews sent an unexpected %s: %v", wrong.Value, err)
	case err != nil:
		return faultf(http.StatusBadGateway, "HackerNews sent invalid JSON: %v", err).temporary()
	}
	return nil
}

// post returns the item as a post, or why it is not one.
func (i item) post() (post, error) {
	switch {
	case i.Deleted:
		return post{}, faultf(http.StatusUnprocessableEntity, "item %d is not a story: it was deleted", i.ID)
	case i.Dead:
		return post{}, faultf(http.StatusUnprocessableEntity, "item %d is not a story: it was taken down", i.ID)
	case i.Type != "story":
		return post{}, faultf(http.StatusUnprocessableEntity, "item %d is not a story but a %.20q", i.ID, i.Type)
	case i.Title == "" || i.Time <= 0 || i.Time > lastUnix:
		return post{}, faultf(http.StatusUnprocessableEntity, "item %d is not a story: it has no title or no valid time", i.ID)
	}
	return post{
		ID: i.ID, Title: clip(i.Title, maxTitle), URL: webAddress(i.URL), By: clip(i.By, maxBy),
		Score: i.Score, Descendants: i.Descendants, Time: unix(i.Time),
	}, nil
}

// webAddress returns s if it is a web page's URL, else "". Others, such as
// javascript:, must not become links.
func webAddress(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(s) > maxURL {
		return ""
	}
	return s
}

func clip(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	return string([]rune(s)[:runes-1]) + "…"
}
