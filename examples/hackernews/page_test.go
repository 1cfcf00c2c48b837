package main

import (
	"strings"
	"testing"
	"time"
)

func TestPageEscapesEverything(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	p := post{ID: 7, Title: `<script>alert(1)</script>`, By: `"><img src=x>`, URL: `https://a.example/?"><b>`, Score: 1, Time: unix(now.Add(-90 * time.Minute).Unix())}
	page, err := render(rank([]post{p}, now), false, now)
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	for _, bad := range []string{"<script", "<img", "<b>"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	for _, good := range []string{"&lt;script&gt;", ">a.example · 1 hour ago", "0 comments", `href="https://news.ycombinator.com/item?id=7"`} {
		if !strings.Contains(text, good) {
			t.Errorf("the page does not hold %s:\n%s", good, text)
		}
	}
	if links, safe := strings.Count(text, "<a "), strings.Count(text, `rel="noopener noreferrer"`); links != safe {
		t.Errorf("%d links, %d of them noopener", links, safe)
	}
}

func TestPageSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		name string
		r    report
		none bool
		want string
	}{
		{"no report", report{}, true, "Nothing was fetched yet"},
		{"an empty report", rank(nil, now), false, "No story is younger"},
		{"an unfinished report", report{Posts: []post{{ID: 1, Title: "A"}}, Pending: 5}, false, "5 more are queued"},
		{"a story without an address", report{Posts: []post{{ID: 1, Title: "A"}}}, false, `<a href="https://news.ycombinator.com/item?id=1" rel="noopener noreferrer">A</a></span>`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			page, err := render(tt.r, tt.none, now)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(page), tt.want) {
				t.Errorf("the page does not hold %s:\n%s", tt.want, page)
			}
		})
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "47 hours ago", 48 * time.Hour: "2 days ago",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}
