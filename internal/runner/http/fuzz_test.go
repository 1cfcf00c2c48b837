//go:build unix

package httpengine

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A wire is a connection that delivers prepared pieces.
type wire struct {
	net.Conn
	in    []byte
	piece int
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), w.piece)], w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) Write(p []byte) (int, error)      { return len(p), nil }
func (w *wire) Close() error                     { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// Whatever we accept as a reply means the same to net/http, however it is split.
func FuzzReply(f *testing.F) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\nContent-Length: 3\r\n\r\n2 ;a=b\r\nhi\r\n0\r\n\r\n",
		"HTTP/1.0 200\nPragma: no-cache\n\nuntil the end",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 304 \r\nConnection: a, close\r\nA: b\r\nEtag: \"x\"\r\n\r\n",
		"HTTP/1.1 502 Bad\r\nMayfly-Crash: x\r\nContent-Length: 1\r\n\r\nt",
		"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
	} {
		for _, piece := range []uint8{1, 255} {
			f.Add([]byte(text), piece, false)
		}
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"), uint8(255), true)
	f.Fuzz(func(t *testing.T, in []byte, piece uint8, isHead bool) {
		method := map[bool]string{true: "HEAD", false: "GET"}[isHead]
		c := &client{idleTimeout: time.Minute, timeout: time.Minute}
		c.open(address{"unix", ""}, &wire{in: bytes.Clone(in), piece: int(piece) + 1})
		r, err := c.call(t.Context(), &mayfly.Call{Method: method})
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Crashed {
				t.Errorf("refused with %v, of code %s", err, mayfly.CodeOf(err))
			}
			return
		}
		var body []byte
		if body = r.Body; r.Stream != nil {
			if body, err = io.ReadAll(r.Stream); err != nil {
				return
			}
			r.Stream.Close()
		}
		if len(c.calls) > 0 {
			t.Error("the call has no end")
		}
		theirs, their, err := readTheirs(in, method)
		if err != nil {
			t.Fatalf("net/http refuses what we take for %d %v %q: %v", r.Status, r.Header, body, err)
		}
		if r.Status != theirs.StatusCode || !bytes.Equal(body, their) {
			t.Errorf("we read %d %q, net/http %d %q", r.Status, body, theirs.StatusCode, their)
		}
		want := travels(theirs, method)
		for _, name := range connectionOptions(in) {
			delete(want, name)
			delete(r.Header, name)
		}
		if !maps.EqualFunc(r.Header, want, slices.Equal) {
			t.Errorf("we read the headers %v, net/http %v", r.Header, want)
		}
	})
}

// readTheirs parses a reply with net/http.
func readTheirs(in []byte, method string) (*http.Response, []byte, error) {
	for b := bufio.NewReader(bytes.NewReader(in)); ; {
		r, err := http.ReadResponse(b, &http.Request{Method: method})
		if err != nil {
			return nil, nil, err
		}
		if r.StatusCode >= 200 {
			body, err := io.ReadAll(r.Body)
			return r, body, err
		}
	}
}

// connectionOptions returns the headers listed in a text's Connection headers, some of
// which net/http drops.
func connectionOptions(in []byte) (names []string) {
	for line := range strings.Lines(string(in)) {
		if name, list, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); strings.EqualFold(name, "Connection") {
			for option := range strings.SplitSeq(list, ",") {
				names = append(names, http.CanonicalHeaderKey(strings.Trim(option, " \t")))
			}
		}
	}
	return names
}

// travels returns the response headers that a reply keeps.
func travels(r *http.Response, method string) http.Header {
	h := r.Header.Clone()
	// net/http adds this one.
	if pragma := r.Header["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && len(h["Cache-Control"]) == 1 && h["Cache-Control"][0] == "no-cache" {
		delete(h, "Cache-Control")
	}
	for name := range h {
		if mayfly.IsHopByHop(name) && (name != "Content-Length" || method != "HEAD") ||
			mayfly.IsReserved(name) {
			delete(h, name)
		}
	}
	return h
}

// Whatever a call contains, one request with its body is sent, or nothing.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a", "b=c", "localhost", "A", "b", []byte("body"))
	f.Add("", "", "", "", "Content-Length", "9", []byte(nil))
	f.Add("POST", "/ü", "\xff", "[::1]:80", "transfer-encoding", "chunked", []byte("x"))
	f.Add("A B", "/\r\n", "\x00", "a b", "A:", "b\nC: d", []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, method, path, query, host, name, value string, body []byte) {
		call := &mayfly.Call{ID: value, Method: method, Path: path, Query: query, Host: host, Header: http.Header{name: {value, value}}, Body: body}
		wire, err := appendRequest(nil, call, time.Time{})
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Invalid {
				t.Errorf("refused with %v, of code %s", err, mayfly.CodeOf(err))
			}
			return
		}
		in := bufio.NewReader(bytes.NewReader(wire))
		r, err := http.ReadRequest(in)
		if err != nil {
			return // an invalid target or host: the function rejects it
		}
		got, err := io.ReadAll(r.Body)
		if !uploads(call) && (err != nil || !bytes.Equal(got, body)) {
			t.Errorf("the body %q arrives as %q, %v", body, got, err)
		}
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("after the request there is %q", rest)
		}
		if text, _ := httputil.DumpRequest(r, false); len(r.TransferEncoding) > 0 {
			t.Errorf("the framing is forged: %s", text)
		}
	})
}
