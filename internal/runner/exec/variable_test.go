package exec

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
)

func TestVariablesOfACall(t *testing.T) {
	t.Parallel()
	deadline := time.UnixMilli(1700000000123)
	for _, tt := range []struct {
		name string
		call mayfly.Call
		want []string // besides those of every call
	}{
		{
			"by HTTP",
			mayfly.Call{
				ID: "c1", Method: "PUT", Path: "/a%20b/c", Query: "x=1&y=%2F", Host: "example.org:8080", Remote: "192.0.2.7:4711",
				Header: http.Header{
					"Content-Type": {"text/plain"}, "Accept": {"a", "b"}, "Cookie": {"c=1", "d=2"},
					"X-Forwarded-Prefix": {"/fn/hello"}, "Mayfly-Param-Id": {"42"},
				},
				Body: []byte("12345"), Deadline: deadline,
			},
			[]string{
				"SERVER_NAME=example.org", "SERVER_PORT=8080", "REQUEST_METHOD=PUT", "SCRIPT_NAME=/fn/hello", "PATH_INFO=/a b/c",
				"QUERY_STRING=x=1&y=%2F", "REMOTE_ADDR=192.0.2.7", "REMOTE_PORT=4711", "CONTENT_TYPE=text/plain", "CONTENT_LENGTH=5",
				"HTTP_HOST=example.org:8080", "HTTP_ACCEPT=a, b", "HTTP_COOKIE=c=1; d=2", "HTTP_X_FORWARDED_PREFIX=/fn/hello",
				"MAYFLY_CALL=c1", "MAYFLY_DEADLINE=1700000000123", "MAYFLY_PARAM_ID=42",
			},
		},
		{
			"by NATS",
			mayfly.Call{ID: "c2"},
			[]string{
				"SERVER_NAME=localhost", "SERVER_PORT=80", "REQUEST_METHOD=POST", "SCRIPT_NAME=", "PATH_INFO=/", "QUERY_STRING=",
				"CONTENT_LENGTH=0", "MAYFLY_CALL=c2",
			},
		},
		{
			"over IPv6",
			mayfly.Call{ID: "c3", Host: "[::1]:80", Remote: "[2001:db8::1]:5"},
			[]string{
				"SERVER_NAME=::1", "SERVER_PORT=80", "REQUEST_METHOD=POST", "SCRIPT_NAME=", "PATH_INFO=/", "QUERY_STRING=", "CONTENT_LENGTH=0",
				"HTTP_HOST=[::1]:80", "REMOTE_ADDR=2001:db8::1", "REMOTE_PORT=5", "MAYFLY_CALL=c3",
			},
		},
		{
			"with a stream of unknown length",
			mayfly.Call{ID: "c4", Path: "/%zz", Host: "[::1]", Stream: strings.NewReader("x"), Length: -1},
			[]string{
				"SERVER_NAME=::1", "SERVER_PORT=80", "REQUEST_METHOD=POST", "SCRIPT_NAME=", "PATH_INFO=/%zz", "QUERY_STRING=",
				"HTTP_HOST=[::1]", "MAYFLY_CALL=c4",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := variables(t.Context(), &tt.call)
			want := append(tt.want, "GATEWAY_INTERFACE=CGI/1.1", "SERVER_SOFTWARE=mayfly", "SERVER_PROTOCOL=HTTP/1.1")
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHostileHeadersMakeNoVariables(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Proxy", "PROXY", "proxy", "Content-Length", "Content-Type", "Host", "Proxy-Authorization", "http2-settings", "EXPECT", "Te", "Mayfly-Call", "Mayfly-Deadline", "Mayfly-Param-",
		"X_Forwarded_For", "X=Y", "X Y", "", "X\n", "X\x00", "É",
	} {
		if v, ok := variable(name); ok {
			t.Errorf("header %q became %s", name, v)
		}
	}
}

func FuzzVariable(f *testing.F) {
	for _, seed := range []string{"Accept", "Mayfly-Param-Id", "Proxy"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		v, ok := variable(header)
		if !ok {
			return
		}
		if !strings.HasPrefix(v, "HTTP_") && !strings.HasPrefix(v, mayfly.EnvParam) || v == "HTTP_PROXY" || strings.ContainsAny(v, "=\x00\n") {
			t.Errorf("header %q became %q", header, v)
		}
	})
}
