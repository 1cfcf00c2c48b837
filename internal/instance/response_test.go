package instance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The handlers do by path what a program may do.
func handlers(upstream *url.URL) http.HandlerFunc {
	mux := http.NewServeMux()
	on := func(path string, f func(w http.ResponseWriter, r *http.Request)) { mux.HandleFunc("/"+path, f) }
	on("nothing", func(http.ResponseWriter, *http.Request) {})
	on("text", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	on("json", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(map[string]int{"a": 1}) })
	on("html", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "<!DOC")
		io.WriteString(w, "TYPE HTML><p>")
	})
	on("binary", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte{0, 1, 2}) })
	on("status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Before", "1")
		w.Header().Add("X-Before", "2")
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-After", "1")
		io.WriteString(w, "teapot")
	})
	on("after", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
		w.Header().Set("X-After", "1")
	})
	on("untyped", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "hello")
	})
	on("encoded", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		io.WriteString(w, "hello")
	})
	on("odd", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["x-small"] = []string{" padded\t"}
		w.Header().Set("X-Lines", "a\nX-Injected: b\r\nc")
		w.Header()["no token"] = []string{"x"}
		w.Header().Set("X-Empty", "")
		w.Header().Set("X-Unicode", "h\u00e9")
	})
	for _, code := range []int{204, 304} {
		on(fmt.Sprint(code), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(code)
			if n, err := io.WriteString(w, "body"); n != 0 || err != http.ErrBodyNotAllowed {
				panic(err)
			}
		})
	}
	on("hints", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
	})
	on("length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
		if _, err := io.WriteString(w, "!"); err != http.ErrContentLength {
			panic(err)
		}
	})
	on("nolength", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "five")
		io.WriteString(w, "hello")
	})
	on("short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "hello")
	})
	on("flushed", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "hello")
	})
	on("large", func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) })
	on("pieces", func(w http.ResponseWriter, _ *http.Request) {
		for n := range 100_000 {
			fmt.Fprintln(w, n)
		}
	})
	on("copied", func(w http.ResponseWriter, _ *http.Request) {
		io.Copy(w, struct{ io.Reader }{strings.NewReader(strings.Repeat("copied ", 50_000))})
	})
	on("content", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "a.txt", time.Unix(1e9, 0), strings.NewReader(strings.Repeat("0123456789", 10_000)))
	})
	on("redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/text?a=b", http.StatusFound) })
	on("error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusConflict) })
	on("echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	on("some", func(w http.ResponseWriter, r *http.Request) { io.CopyN(w, r.Body, 10) })
	on("limited", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000))
		var limit *http.MaxBytesError
		fmt.Fprint(w, errors.As(err, &limit))
	})
	on("form", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.FormValue("a"), r.PostForm) })
	on("request/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q %s %s %d %v %#v %v\n", r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength, r.TransferEncoding, r.URL, r.Header)
		fmt.Fprintln(w, r.Body == http.NoBody, r.TLS, r.Form, r.Trailer, r.Context().Err(), r.Context().Value(http.ServerContextKey) != nil)
	})
	mux.Handle("/timed", http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "in time") }), time.Minute, "late"))
	mux.Handle("/proxy/", httputil.NewSingleHostReverseProxy(upstream))
	return mux.ServeHTTP
}

func TestHandlersSeeWhatNetHTTPShows(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.StripPrefix("/proxy", handlers(&url.URL{})))
	t.Cleanup(upstream.Close)
	address, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := handlers(address)
	s := serve(t, h)
	plain := httptest.NewServer(h)
	t.Cleanup(plain.Close)
	usual := &http.Client{Transport: &http.Transport{DisableCompression: true}, CheckRedirect: stay}

	long := strings.Repeat("long ", 100_000)
	for _, call := range []string{
		"GET /nothing", "GET /text", "HEAD /text", "GET /json", "GET /html", "GET /binary", "GET /status", "GET /after", "GET /untyped",
		"GET /encoded", "GET /odd", "GET /204", "GET /304", "HEAD /204", "GET /hints", "GET /length", "HEAD /length", "GET /nolength", "GET /short",
		"HEAD /short", "GET /flushed", "HEAD /flushed", "GET /large", "HEAD /large", "GET /pieces", "HEAD /pieces", "GET /copied", "GET /content",
		"HEAD /content", "GET /content Range=bytes=5-9", "GET /content Range=bytes=0-1,70000-99999", "GET /content Range=bytes=200000-",
		"GET /content If-Modified-Since=Sun, 09 Sep 2001 01:46:40 GMT", "GET /redirect", "GET /error", "GET /unknown", "GET //text", "GET /./text",
		"POST /echo", "POST /echo =short", "POST /echo =" + long, "POST /echo ~short", "POST /some =" + long, "POST /some ~" + long,
		"POST /nothing =" + long, "POST /limited =" + long, "POST /form Content-Type=application/x-www-form-urlencoded =a=1&b=2", "GET /form?a=7",
		"GET /request/", "GET /request/a%2Fb%20c?q=%41&r", "GET /request/a!b(c)'*", "GET /request/?", "GET /request/x?a?b#", "GET /request/a;b,c:d@e&f=g+$",
		"GET /request/h\u00e9?\u00e9", "DELETE /request/ =b", "POST /request/", "PUT /request/ =body", "PUT /request/ ~" + long, "CUSTOM /request/ x-lower=a =b", "GET /request/ Cookie=a=b",
		"GET /timed", "GET /proxy/text", "HEAD /proxy/text", "GET /proxy/large", "POST /proxy/echo =" + long, "POST /proxy/echo ~short", "GET /proxy/short", "GET /proxy/204",
	} {
		got, want := answer(t, s.Client, "http://functions.test", call), answer(t, usual, plain.URL, call)
		if want.header["Content-Length"] == nil {
			delete(got.header, "Content-Length") // the node's, which knows it
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%.80s:\ngot  %.600s\nwant %.600s", call, fmt.Sprint(got), fmt.Sprint(want))
		}
	}
}

// An answered is what a client sees of a reply.
type answered struct {
	status int
	header http.Header
	body   string
	broke  bool
}

// answer makes a call: method, target, headers, and a body after =, or one of no known length
// after ~.
func answer(t *testing.T, client *http.Client, at, call string) answered {
	t.Helper()
	method, rest, _ := strings.Cut(call, " ")
	target, rest, _ := strings.Cut(rest, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, at+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "functions.test"
	r.Header = http.Header{"User-Agent": {"test"}, "X-Two": {"a", "b"}}
	for rest != "" {
		if text := rest[1:]; rest[0] == '=' || rest[0] == '~' {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
			if rest[0] == '~' {
				r.GetBody, r.ContentLength = nil, -1
			}
			break
		}
		name, value, _ := strings.Cut(rest, "=")
		if value, rest, _ = strings.Cut(value, " ="); rest != "" {
			rest = "=" + rest
		}
		r.Header[name] = []string{value}
	}
	resp, err := client.Do(r)
	if err != nil {
		return answered{broke: true}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.Header.Get("Mayfly-Crash") != "" {
		return answered{broke: true}
	}
	resp.Header.Del("Date")
	if _, boundary, ok := strings.Cut(resp.Header.Get("Content-Type"), "boundary="); ok {
		resp.Header.Del("Content-Type")
		body = bytes.ReplaceAll(body, []byte(boundary), nil) // which is random
	}
	if len(body) > 2000 || method == http.MethodHead {
		resp.Header.Del("Content-Length") // net/http adds it to small replies only
	}
	return answered{resp.StatusCode, resp.Header, string(body), err != nil}
}
