package bus_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// errDisk is what the system says of a disk that lost something.
var errDisk = errors.New("input/output error")

// A commit covers what was written before it began, so callers that arrive while one
// runs need another; one is enough for all of them.
func TestCallersDuringACommitShareTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var began atomic.Int32
		c := bus.NewCommitter(func() error {
			began.Add(1)
			time.Sleep(time.Second)
			return nil
		})
		defer c.Close()
		start := time.Now()
		var all sync.WaitGroup
		sync := func() {
			all.Go(func() {
				if err := c.Sync(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		sync()
		synctest.Wait() // it has begun
		for range 10 {
			sync()
		}
		synctest.Wait()
		if n := began.Load(); n != 1 {
			t.Errorf("%d commits began while one runs", n-1)
		}
		all.Wait()
		if n, took := began.Load(), time.Since(start); n != 2 || took != 2*time.Second {
			t.Errorf("%d commits in %s, want 2 in 2s", n, took)
		}
	})
}

func TestDiskThatFailedIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		c := bus.NewCommitter(func() error {
			tries++
			time.Sleep(time.Second)
			return errDisk
		})
		defer c.Close()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if err := c.Sync(t.Context()); !errors.Is(err, errDisk) {
					t.Errorf("error = %v", err)
				}
			})
			synctest.Wait() // the second waits for the turn when the first fails
		}
		all.Wait()
		if err := c.Sync(t.Context()); !errors.Is(err, errDisk) || mayfly.HintOf(err) == "" || tries != 1 {
			t.Errorf("later: %v after %d tries", err, tries)
		}
	})
}

// A caller that leaves does not take the commit with it.
func TestSyncEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		commits := 0
		c := bus.NewCommitter(func() error {
			commits++
			time.Sleep(time.Minute)
			return nil
		})
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if err := c.Sync(ctx); mayfly.CodeOf(err) != mayfly.Timeout || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while it commits: %v", err)
		}
		if err := c.Sync(ctx); mayfly.CodeOf(err) != mayfly.Timeout {
			t.Errorf("while it waits: %v", err)
		}
		c.Close()
		if commits != 2 {
			t.Errorf("%d commits, want 2", commits)
		}
		if err := c.Sync(t.Context()); mayfly.CodeOf(err) != mayfly.Unavailable {
			t.Errorf("of a closed store: %v", err)
		}
	})
}

func TestBrokenStoreIsNotReady(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	if err := b.Sync(t.Context()); err != nil {
		t.Fatalf("a good disk: %v", err)
	}
	select {
	case <-b.Broken():
		t.Fatal("a good disk is broken")
	default:
	}
	b.CommitWith(func() error { return errDisk })
	if err := b.Sync(t.Context()); mayfly.CodeOf(err) != mayfly.Internal {
		t.Errorf("sync: %v", err)
	}
	<-b.Broken()
	if err := b.Ready(); !errors.Is(err, errDisk) {
		t.Errorf("ready: %v", err)
	}
}

// What the command line deploys is synced by the node that runs the server.
func TestSyncAsksWhoRunsTheServer(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	var synced atomic.Int32
	b.CommitWith(func() error { synced.Add(1); return nil })
	other, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: b.URL()}, Core: natstest.Core(b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	if err := other.Sync(t.Context()); err != nil || synced.Load() != 1 {
		t.Errorf("sync: %v after %d commits", err, synced.Load())
	}
	b.CommitWith(func() error { return errDisk })
	if err := other.Sync(t.Context()); mayfly.CodeOf(err) != mayfly.Internal || mayfly.HintOf(err) == "" {
		t.Errorf("a disk that fails: %v (hint %q)", err, mayfly.HintOf(err))
	}
	if other.Broken() != nil {
		t.Error("somebody else's server breaks us")
	}
}

// A node that starts anew takes connections a moment before it can sync.
func TestSyncWaitsForTheNodeThatItKnows(t *testing.T) {
	t.Parallel()
	s := startServer(t, server.Options{StoreDir: t.TempDir()})
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	synced := func(m *nats.Msg) { _ = m.Respond(nil) }
	answering, err := nc.Subscribe(mayfly.SubjectSync, synced)
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: s.ClientURL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if err := b.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := answering.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() { asked <- b.Sync(t.Context()) }()
	select {
	case err := <-asked:
		t.Fatalf("synced by nobody: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := nc.Subscribe(mayfly.SubjectSync, synced); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

func TestSyncLeavesOtherServersToTheirOperators(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		user *server.User
	}{
		{"nobody answers", &server.User{Username: "ada", Password: "s3cret"}},
		{"the question is forbidden", &server.User{Username: "ada", Password: "s3cret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{mayfly.SubjectSync}},
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, server.Options{StoreDir: t.TempDir(), Users: []*server.User{tt.user}})
			b, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: s.ClientURL(), User: "ada", Password: "s3cret"}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			start := time.Now()
			if err := b.Sync(t.Context()); err != nil || time.Since(start) > soonIn {
				t.Errorf("sync: %v after %s", err, time.Since(start))
			}
		})
	}
}
