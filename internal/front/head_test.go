package front

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A target gets the URL that net/url makes of it, whichever bytes it has.
func TestURLIsThatOfTheStandardLibrary(t *testing.T) {
	t.Parallel()
	targets := []string{"/", "//", "//a/b", "/?", "/??", "/a?b=c&d", "/a?b#c", "/a#b", "/%2f", "/%zz", "/a/../b", "/*", "/a:b", "//a:b@c/d"}
	for c := byte('!'); c < 0x7f; c++ {
		targets = append(targets, "/x"+string(c)+"y", "/?"+string(c))
	}
	for _, target := range targets {
		want, wantErr := url.ParseRequestURI(target)
		h, got := head{target: span{0, len(target)}}, url.URL{}
		err := h.url(target, &got)
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%s: error %v, want %v", target, err, wantErr)
		} else if err == nil && got != *want {
			t.Errorf("%s: %#v, want %#v", target, got, *want)
		}
	}
}

// Headers are right whether the map of values has room for them or not.
func TestHeadersWithAndWithoutRoom(t *testing.T) {
	t.Parallel()
	const text = "GET / HTTP/1.1\r\nHost: a\r\naccept: 1\r\nX-A: 2\r\nAccept: 3\r\nX-B:\r\n\r\n"
	want := http.Header{"Accept": {"1", "3"}, "X-A": {"2"}, "X-B": {""}}
	for _, room := range []int{0, 4, 5, 8} {
		var h head
		if v := h.scan([]byte(text)); v != plain {
			t.Fatalf("verdict %v", v)
		}
		if diff := cmp.Diff(want, h.header(text, make([]string, room))); diff != "" {
			t.Errorf("room for %d: %s", room, diff)
		}
	}
}
