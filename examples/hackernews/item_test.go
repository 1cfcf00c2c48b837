package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestItems(t *testing.T) {
	t.Parallel()
	const rest = `,"type":"story","title":"A","time":1`
	for _, tt := range []struct {
		name, in string
		want     post
		code     int
		again    bool
	}{
		{
			"a story", `{"id":7,"type":"story","title":"A","url":"https://a.example/","by":"ada","score":3,"descendants":2,"time":9,"kids":[8]}`,
			post{ID: 7, Title: "A", URL: "https://a.example/", By: "ada", Score: 3, Descendants: 2, Time: 9},
			0, false,
		},
		{"without an address", `{"id":7` + rest + `}`, post{ID: 7, Title: "A", Time: 1}, 0, false},
		{"an address that is none", `{"id":7,"url":"javascript:alert(1)"` + rest + `}`, post{ID: 7, Title: "A", Time: 1}, 0, false},
		{"an address without a host", `{"id":7,"url":"https:///x"` + rest + `}`, post{ID: 7, Title: "A", Time: 1}, 0, false},
		{"an address too long", `{"id":7,"url":"https://a.example/` + strings.Repeat("a", maxURL) + `"` + rest + `}`, post{ID: 7, Title: "A", Time: 1}, 0, false},
		{"a title too long", `{"id":7,"type":"story","time":1,"title":"` + strings.Repeat("ä", 500) + `"}`, post{ID: 7, Title: strings.Repeat("ä", maxTitle-1) + "…", Time: 1}, 0, false},
		{"nothing", `null`, post{}, 404, true},
		{"a time beyond the calendar", `{"id":7,"type":"story","title":"A","time":253402300800}`, post{}, 422, false},
		{"a job", `{"id":7,"type":"job","title":"A","time":1}`, post{}, 422, false},
		{"a comment", `{"id":7,"type":"comment","text":"A","time":1}`, post{}, 422, false},
		{"no type", `{"id":7}`, post{}, 422, false},
		{"no title", `{"id":7,"type":"story","time":1}`, post{}, 422, false},
		{"no time", `{"id":7,"type":"story","title":"A"}`, post{}, 422, false},
		{"deleted", `{"id":7,"deleted":true` + rest + `}`, post{}, 422, false},
		{"taken down", `{"id":7,"dead":true` + rest + `}`, post{}, 422, false},
		{"another item", `{"id":8` + rest + `}`, post{}, 502, true},
		{"a number as title", `{"id":7,"type":"story","title":12345,"time":1}`, post{}, 502, false},
		{"a list", `[]`, post{}, 502, false},
		{"a number", `7`, post{}, 502, false},
		{"a fraction", `{"id":7,"score":1.5` + rest + `}`, post{}, 502, false},
		{"a number too large", `{"id":7,"score":1e99` + rest + `}`, post{}, 502, false},
		{"half of it", `{"id":7,"type":"st`, post{}, 502, true},
		{"empty", ``, post{}, 502, true},
		{"a page", `<html>`, post{}, 502, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parsePost(7, []byte(tt.in))
			wantFault(t, err, tt.code)
			if got != tt.want {
				t.Errorf("post = %+v, want %+v", got, tt.want)
			}
			if err != nil && isTemporary(err) != tt.again {
				t.Errorf("isTemporary(%v) = %v", err, !tt.again)
			}
		})
	}
}

func parsePost(id int64, in []byte) (post, error) {
	i, err := parseItem(id, in)
	if err != nil {
		return post{}, err
	}
	return i.post()
}

func FuzzItem(f *testing.F) {
	f.Add([]byte(`{"id":7,"type":"story","title":"A","url":"https://a.example/","time":9}`))
	f.Add([]byte(`{"id":7,"type":"story","title":"A","url":"javascript:0","time":9}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := parsePost(7, in)
		if err != nil {
			if code := codeOf(err); code != 404 && code != 422 && code != 502 {
				t.Errorf("code %d for %q", code, in)
			}
			return
		}
		if p.ID != 7 || p.Title == "" || p.Time <= 0 || p.URL != "" && !strings.HasPrefix(strings.ToLower(p.URL), "http") {
			t.Errorf("post %+v of %q", p, in)
		}
		if _, err := render(rank([]post{p}, p.Time.time()), false, p.Time.time()); err != nil {
			t.Errorf("the page of %q: %v", in, err)
		}
	})
}

func TestLists(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in string
		want     int
		code     int
	}{
		{"some", `[3,1,2]`, 3, 0},
		{"twice", `[3,1,3]`, 2, 0},
		{"far too many", "[1" + many(5000) + "]", maxIDs, 0},
		{"empty", `[]`, 0, 502},
		{"nothing", `null`, 0, 502},
		{"negative", `[3,-1]`, 0, 502},
		{"words", `["a"]`, 0, 502},
		{"an error", `{"error":"no"}`, 0, 502},
		{"half of it", `[1,2`, 0, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ids, err := parseIDs([]byte(tt.in))
			wantFault(t, err, tt.code)
			if len(ids) != tt.want {
				t.Errorf("ids = %v", ids)
			}
		})
	}
}

func FuzzList(f *testing.F) {
	for _, in := range []string{`[3,1,3]`, `[]`, `null`, `[-1]`, `["a"]`, `[1e3]`} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		ids, err := parseIDs(in)
		if err != nil {
			wantFault(t, err, 502)
			return
		}
		if len(ids) == 0 || len(ids) > maxIDs || slices.Min(ids) < 1 {
			t.Errorf("ids %v of %q", ids, in)
		}
	})
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",%d", i+2)
	}
	return b.String()
}

// wantFault checks the number of an error; 0 is no error.
func wantFault(t *testing.T, err error, code int) {
	t.Helper()
	var f *fault
	switch {
	case code == 0 && err != nil:
		t.Errorf("error %v", err)
	case code != 0 && (!errors.As(err, &f) || f.code != code):
		t.Errorf("error %v, want one with code %d %s", err, code, http.StatusText(code))
	}
}
