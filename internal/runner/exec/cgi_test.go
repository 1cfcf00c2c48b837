package exec

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
)

func TestParseCGI(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		status     int
		header     http.Header
		body       string
	}{
		{"headers and body", "Content-Type: text/html\n\nhi", 200, http.Header{"Content-Type": {"text/html"}}, "hi"},
		{"CR LF", "X-A: 1\r\nX-A: 2\r\n\r\nhi\r\n", 200, http.Header{"X-A": {"1", "2"}}, "hi\r\n"},
		{"no header", "\nhi", 200, http.Header{}, "hi"},
		{"no body", "Status: 204 No Content\n\n", 204, http.Header{}, ""},
		{"a bare status", "status:404\n\ngone", 404, http.Header{}, "gone"},
		{"a redirect", "Location: /there\n\n", 302, http.Header{"Location": {"/there"}}, ""},
		{"a redirect with its status", "Location: /there\nStatus: 308\n\n", 308, http.Header{"Location": {"/there"}}, ""},
		{"names of the connection, of NATS and ours", "Connection: close\nTransfer-Encoding: chunked\nContent-Length: 99\nProxy-Authorization: x\nHttp2-Settings: x\nExpect: x\nKV-Operation: DEL\nNats-Rollup: all\nmayfly-status: 500\nX-A: 1\n\nhi", 200, http.Header{"X-A": {"1"}}, "hi"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := parseCGI([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if r.Status != tt.status || string(r.Body) != tt.body || r.Length != int64(len(tt.body)) {
				t.Errorf("the reply is %d %q (%d bytes)", r.Status, r.Body, r.Length)
			}
			if diff := cmp.Diff(tt.header, r.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseCGIRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "no empty line"},
		{"no empty line", "Content-Type: text/html\nhi", "no empty line"},
		{"a body at once", "hello, world\n\n", `"hello, world" is not a header line`},
		{"a space in a name", "Content Type: x\n\n", "not a header line"},
		{"a space before the colon", "Status : 200\n\n", "not a header line"},
		{"a folded line", "X-A: 1\n 2\n\n", "not a header line"},
		{"no name", ": x\n\n", "not a header line"},
		{"a status that is none", "Status: fine\n\n", `"fine" is not a status`},
		{"1xx", "Status: 101 Switching\n\n", "not a status"},
		{"a status beyond", "Status: 600\n\n", "not a status"},
		{"a carriage return inside", "X-A: 1\rSet-Cookie: a=b\n\n", "control character"},
		{"a zero byte", "X-A: \x00\n\n", "control character"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseCGI([]byte(tt.text))
			if mayfly.CodeOf(err) != mayfly.Crashed || err == nil || !strings.Contains(err.Error(), tt.want) || mayfly.HintOf(err) == "" {
				t.Errorf("parseCGI = %v (hint %q), want crashed with %q and a hint", err, mayfly.HintOf(err), tt.want)
			}
		})
	}
}

func FuzzParseCGI(f *testing.F) {
	f.Add([]byte("Status: 404 Not Found\r\nLocation: /x\r\n\r\nbody"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseCGI(data)
		if err != nil {
			return
		}
		if r.Status < 200 || r.Status > 599 || len(r.Body) > len(data) {
			t.Errorf("%q became %d with %d bytes", data, r.Status, len(r.Body))
		}
		for name, values := range r.Header {
			if strings.HasPrefix(name, "Nats-") || strings.HasPrefix(name, "Mayfly-") || strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("%q has the header %q: %q", data, name, values)
			}
		}
	})
}
