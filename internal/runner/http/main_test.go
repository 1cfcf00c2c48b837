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
	"github.com/mayfly-run/mayfly/internal/runner/enginetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if !enginetest.Play(programs) {
		goleak.VerifyTestMain(m)
	}
}

// shortDir is a directory whose path leaves room for a socket, as t.TempDir's may not.
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

// clientOf returns a client of what listens, with times that no test reaches.
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

// serve returns a client of a net/http server, as a function in Go is one.
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

// serveRaw returns a client of a server whose connections talk as the test says.
// nth counts connections from 0.
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

// bodyOf reads a reply's body, whichever way it came.
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
