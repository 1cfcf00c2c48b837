package front

import (
	"io"
	"net/http"
	"testing"
)

// Only net/http lets a handler hijack a connection, so a handler can tell.
func TestOffLeavesAllToNetHTTP(t *testing.T) {
	t.Parallel()
	for _, off := range []bool{false, true} {
		s := newServer(func(w http.ResponseWriter, _ *http.Request) {
			if _, ok := w.(http.Hijacker); ok {
				io.WriteString(w, "net/http")
			}
		})
		s.Off = off
		resp, err := http.Get("http://" + serve(t, s))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || (string(body) == "net/http") != off {
			t.Errorf("off is %v: answered by %q, %v", off, body, err)
		}
	}
}
