//go:build unix

package httpengine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && programs[os.Args[1]] != nil {
		programs[os.Args[1]]()
		return
	}
	goleak.VerifyTestMain(m)
}

// shortDir returns a folder whose path is short enough for a socket; t.TempDir's may not be.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "http")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(shortDir(t), "s")
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// clientOf returns a client of a listener, with timeouts that no test reaches.
func clientOf(t testing.TB, l net.Listener) *client {
	t.Helper()
	c := &client{network: l.Addr().Network(), address: l.Addr().String(), timeout: time.Minute, idleTimeout: time.Minute}
	t.Cleanup(func() {
		c.close()
		c.uploads.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.calls) > 0 {
			t.Errorf("%d calls never ended", len(c.calls))
		}
	})
	return c
}

// serve returns a client of a net/http server, like a Go function.
func serve(t testing.TB, h http.HandlerFunc) *client {
	t.Helper()
	l := listen(t, "unix")
	s := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	c := clientOf(t, l)
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	return c
}

// serveRaw returns a client of a server that handles connections with talk. nth counts
// them from 0.
func serveRaw(t testing.TB, network string, talk func(nth int, c net.Conn)) *client {
	t.Helper()
	l := listen(t, network)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talk(n, conn)
			_ = conn.Close()
		}
	}()
	c := clientOf(t, l)
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return c
}

func ctxOf(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func get(path string) *mayfly.Call {
	return &mayfly.Call{ID: "c1", Method: "GET", Path: path, Host: "example.com"}
}

// bodyOf returns a reply's body, whole or streamed.
func bodyOf(t testing.TB, r mayfly.Reply) string {
	t.Helper()
	if r.Stream == nil {
		return string(r.Body)
	}
	defer r.Stream.Close()
	b, err := io.ReadAll(r.Stream)
	if err != nil {
		t.Fatalf("read the stream: %v", err)
	}
	return string(b)
}

func wantCode(t testing.TB, err error, code mayfly.Code) {
	t.Helper()
	if _, ok := errors.AsType[*mayfly.Error](err); !ok || mayfly.CodeOf(err) != code {
		t.Errorf("error = %v (%T), want one of code %s", err, err, code)
	}
}
