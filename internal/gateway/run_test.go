package gateway_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/gateway"
)

func TestCallInFlightIsAnsweredAfterTheEnd(t *testing.T) {
	t.Parallel()
	entered, proceed := make(chan struct{}), make(chan struct{})
	caller := callerFunc(func(ctx context.Context, _ mayfly.Call) (mayfly.Reply, error) {
		close(entered)
		select {
		case <-proceed:
			return reply(200, "late"), nil
		case <-ctx.Done():
			return mayfly.Reply{}, ctx.Err()
		}
	})
	d := &door{Gateway: newGateway(t, caller, directory{}, gateway.Options{Functions: projects{route(t, "r", "/r", "r", "")}})}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	_, r := d.send(t, "GET /r HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	stop()
	refused(t, d.Addr())
	select {
	case err := <-done:
		t.Fatalf("Run returned before the answer: %v", err)
	default:
	}
	close(proceed)
	if a := read(t, r); a.StatusCode != 200 || a.body != "late" || !a.Close {
		t.Errorf("%d %q, close %v", a.StatusCode, a.body, a.Close)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// refused returns when no connection is accepted any more.
func refused(t *testing.T, addr net.Addr) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		conn, err := net.Dial("tcp", addr.String())
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Fatal("still accepts connections")
}

func TestDrainTimeCutsCallsOff(t *testing.T) {
	t.Parallel()
	entered, cut, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	caller := callerFunc(func(ctx context.Context, _ mayfly.Call) (mayfly.Reply, error) {
		close(entered)
		<-ctx.Done()
		close(cut)
		<-finish
		return mayfly.Reply{}, ctx.Err()
	})
	d := &door{Gateway: newGateway(t, caller, directory{}, gateway.Options{
		DrainTimeout: 50 * time.Millisecond, Functions: projects{route(t, "r", "/r", "r", "")},
	})}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	_, r := d.send(t, "GET /r HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	stop()
	<-cut
	select {
	case <-done:
		t.Error("Run returned while a call was in its hands")
	case <-time.After(50 * time.Millisecond): // long enough for a Run that does not wait
	}
	close(finish)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if b, _ := io.ReadAll(r); len(b) > 0 {
		t.Errorf("a cut call is answered %q", b)
	}
}
