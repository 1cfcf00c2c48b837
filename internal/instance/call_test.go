package instance_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/frame"
)

func TestSlowReaderHoldsUpItsCallOnly(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	stuck := make(chan bool, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/long" {
			return
		}
		for b := make([]byte, 16<<10); written.Load() < 1<<20; written.Add(int64(len(b))) {
			if written.Load() == frame.Window {
				stuck <- true
			}
			w.Write(b)
		}
	})
	resp, err := s.Get("http://localhost/long")
	if err != nil {
		t.Fatal(err)
	}
	<-stuck
	for range 100 {
		s.get(t, "/")
	}
	if n := written.Load(); n > frame.Window+16<<10 {
		t.Errorf("%d bytes were written though nobody reads", n)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != 1<<20 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A counter counts what is read.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestUploadWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	began, gate := make(chan bool), make(chan bool)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		began <- true
		<-gate
		io.Copy(w, r.Body)
	})
	text := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	body := &counter{Reader: bytes.NewReader(text)}
	var call sync.WaitGroup
	call.Go(func() {
		resp, err := s.Post("http://localhost/", "", body)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); !bytes.Equal(got, text) || err != nil {
			t.Errorf("got %d bytes, %v, want %d", len(got), err, len(text))
		}
	})
	<-began
	for range 100 {
		s.get(t, "/")
	}
	if n := body.n.Load(); n > frame.Window {
		t.Errorf("%d bytes were sent though nobody reads", n)
	}
	close(gate)
	call.Wait()
}

func TestClientThatLeavesCancels(t *testing.T) {
	t.Parallel()
	said := make(chan error, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var err error
		http.NewResponseController(w).Flush()
		switch r.URL.Path {
		case "/context":
			<-r.Context().Done()
			err = r.Context().Err()
		case "/below":
			ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
			defer cancel()
			<-ctx.Done()
			err = ctx.Err()
		case "/notify":
			//lint:ignore SA1019 older programs use it
			<-w.(http.CloseNotifier).CloseNotify()
			err = context.Canceled
		case "/write":
			for err == nil {
				_, err = w.Write(make([]byte, 100<<10))
			}
		case "/read":
			if _, err = io.ReadAll(r.Body); errors.Is(err, io.ErrUnexpectedEOF) {
				err = context.Canceled
			}
		}
		said <- err
	})
	for _, path := range []string{"/context", "/below", "/notify", "/write", "/read"} {
		ctx, leave := context.WithCancel(t.Context())
		body, rest := io.Pipe()
		defer rest.Close()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Do(r); err != nil {
			t.Fatal(err)
		}
		leave()
		if err := <-said; err != context.Canceled {
			t.Errorf("%s: the handler got %v", path, err)
		}
	}
	s.node.Raw("POST /read\nContent-Length:10\n", "abc", true)
	if err := <-said; err != context.Canceled {
		t.Errorf("a body that is too short is read with %v", err)
	}
}

func TestDeadlinesOfAHandler(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		var err error
		if r.URL.Path == "/read" {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err = io.ReadAll(r.Body)
			c.SetReadDeadline(time.Time{})
		} else {
			c.SetWriteDeadline(time.Now().Add(time.Millisecond))
			for err == nil {
				_, err = w.Write(make([]byte, 100<<10))
			}
			c.SetWriteDeadline(time.Now().Add(time.Hour))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.EnableFullDuplex() != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		if _, _, err := c.Hijack(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Hijack: %v", err)
		}
		io.WriteString(w, "ended")
	})
	for _, path := range []string{"/read", "/write"} {
		body, rest := io.Pipe()
		defer rest.Close()
		resp, err := s.Post("http://localhost"+path, "", body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); !strings.HasSuffix(string(got), "ended") || err != nil {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
}

func TestLateHandlersHarmNobody(t *testing.T) {
	t.Parallel()
	var late sync.WaitGroup
	next := make(chan bool)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
		if r.URL.Path != "/late" {
			return
		}
		late.Go(func() {
			<-next
			if n, err := io.WriteString(w, "late"); n > 0 || err == nil {
				t.Errorf("%d bytes were written late, %v", n, err)
			}
			if err := http.NewResponseController(w).Flush(); err == nil {
				t.Error("was flushed late")
			}
			if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("late")); n > 0 || err == nil {
				t.Errorf("%d bytes were copied late, %v", n, err)
			}
			w.WriteHeader(500)
			if _, err := r.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
				t.Errorf("the body was read late: %v", err)
			}
			if r.Context().Err() != context.Canceled || r.Header.Get("Content-Type") != "text/plain" {
				t.Errorf("%v, %v", r.Context().Err(), r.Header)
			}
		})
	})
	resp, err := s.Post("http://localhost/late", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for range 10 {
		if got := s.get(t, "/"); got != "hello" {
			t.Errorf("got %q", got)
		}
	}
	close(next)
	late.Wait()
	if got := s.get(t, "/"); got != "hello" {
		t.Errorf("got %q", got)
	}
}
