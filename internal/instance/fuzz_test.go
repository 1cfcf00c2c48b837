package instance

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/mayfly-run/mayfly/internal/frame"
)

// FuzzSession has a node send anything: nothing panics, and no handler hangs.
func FuzzSession(f *testing.F) {
	head := func(call uint32, text, body string, end bool) []byte {
		return frame.Append(nil, frame.Frame{Call: call, Kind: frame.Head, End: end, Head: []byte(text), Body: []byte(body)})
	}
	f.Add(head(1, "GET /a?b=c\nhost:h\n", "", true))
	f.Add(append(head(1, "POST /\nhost:h\ncontent-length:4\n", "ab", false),
		frame.Append(nil, frame.Frame{Call: 1, Kind: frame.Data, End: true, Body: []byte("cd")})...))
	f.Add(append(head(7, "POST /\nhost:h\n", "x", false), frame.AppendCredit(frame.Append(nil, frame.Frame{Call: 7, Kind: frame.Cancel}), 7, 1<<31)...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		conn, node := net.Pipe()
		s := newSession(conn, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL == nil || r.Method == "" || r.Body == nil {
				t.Errorf("request %q for %v", r.Method, r.URL)
			}
			_, _ = io.Copy(w, r.Body)
		}), "")
		served := make(chan error, 1)
		go func() { served <- s.serve(context.Background()) }()
		go func() { _, _ = io.Copy(io.Discard, node) }()
		_, _ = node.Write(append([]byte(frame.Preface), sent...))
		node.Close()
		if err := <-served; err == nil {
			t.Error("the connection has ended, and that is no error")
		}
		<-s.drain() // what the handlers are at
	})
}

func FuzzTarget(f *testing.F) {
	for _, target := range []string{"/", "/a/b?c=d", "//a", "/?", "/a?b?", "*", "/%2F", "/a!b", "/h\u00e9?\u00e9", "http://a/b", "/a b", "/a?\x7f", "/a#b", ""} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		var got url.URL
		err := readTarget(&got, target)
		want, fault := url.ParseRequestURI(target)
		if (err == nil) != (fault == nil) || err == nil && !reflect.DeepEqual(&got, want) {
			t.Errorf("%q is %#v, %v, want %#v, %v", target, got, err, want, fault)
		}
	})
}
