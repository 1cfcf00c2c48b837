//go:build unix

package httpengine

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
)

// dialLink connects a program to its node.
func dialLink() net.Conn {
	c, err := net.Dial("unix", os.Getenv(mayfly.EnvLink))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return c
}

// foreigner speaks another version of frames, and does not end.
func foreigner() {
	_, _ = io.WriteString(dialLink(), "MFL\x09")
	select {}
}

// linked takes frames, and acts by the path of a call. It does not end when its link does.
func linked() {
	c := dialLink()
	w := frame.NewWriter(c)
	w.Flush(w.Begin())
	r, err := frame.NewReader(c)
	if err != nil {
		os.Exit(1)
	}
	send := func(f frame.Frame) { w.Flush(frame.Append(w.Begin(), f)) }
	for {
		f, err := r.Next()
		if err != nil {
			select {}
		}
		_, path, _ := strings.Cut(strings.SplitN(string(f.Head), "\n", 2)[0], " ")
		switch path {
		case "/echo":
			send(frame.Frame{Call: f.Call, Kind: frame.Head, End: true, Head: []byte("200\n"), Body: f.Body})
		case "/half":
			send(frame.Frame{Call: f.Call, Kind: frame.Head, Head: []byte("200\n"), Body: []byte("half")})
		case "/crash":
			fmt.Fprintln(os.Stderr, "last words")
			os.Exit(3)
		case "/lie":
			_, _ = c.Write([]byte{255, 255, 255, 255, 0, 0, 0, 1, 2, 0, 0, 0})
		case "/leave":
			c.Close()
		}
	}
}

func TestProgramMayTakeFrames(t *testing.T) {
	t.Parallel()
	e, dir := newEngine(t)
	i, _ := start(t, e, program("linked"))
	reply, err := i.Call(ctxOf(t), &mayfly.Call{Path: "/echo", Body: []byte("hi")})
	if err != nil || string(reply.Body) != "hi" {
		t.Errorf("%q, %v", reply.Body, err)
	}
	i.Stop(context.Background())
	if i.Err() != nil {
		t.Error(i.Err())
	}
	_, err = i.Call(ctxOf(t), get("/echo"))
	wantCode(t, err, mayfly.Unavailable)
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("sockets are left: %v", left)
	}
}

// Whatever ends a link ends the process, and the calls in it say why.
func TestEndOfALinkEndsTheProgram(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t)
	for path, says := range map[string]string{
		"/crash": "hello crashed: exit status 3",
		"/lie":   "hello was ended for what it sent: the connection ended: a frame has 4294967295 bytes",
		"/leave": "hello was ended for what it sent: the connection ended: EOF",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			i, _ := start(t, e, program("linked"))
			other, err := i.Call(ctxOf(t), get("/half"))
			if err != nil {
				t.Fatal(err)
			}
			defer other.Stream.Close()
			_, err = i.Call(ctxOf(t), get(path))
			wantCode(t, err, mayfly.Crashed)
			<-i.Done()
			if wantCode(t, i.Err(), mayfly.Crashed); !strings.HasPrefix(i.Err().Error(), says) {
				t.Errorf("the instance ended: %v, want %s", i.Err(), says)
			}
			got, err := io.ReadAll(other.Stream)
			if wantCode(t, err, mayfly.Crashed); string(got) != "half" {
				t.Errorf("%q, %v", got, err)
			}
			_, err = i.Call(ctxOf(t), get("/echo"))
			wantCode(t, err, mayfly.Crashed)
		})
	}
}

func TestProgramOfAnotherVersionDoesNotStart(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t)
	s, _ := specOf(program("foreigner"))
	s.Limits.Instances.Start = mayfly.Duration(time.Minute)
	_, err := e.Start(ctxOf(t), s)
	wantCode(t, err, mayfly.Crashed)
	if err != nil && !strings.Contains(err.Error(), "another version of frames") {
		t.Error(err)
	}
}
