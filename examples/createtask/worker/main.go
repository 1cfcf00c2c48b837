// Worker answers tasks sent to it over NATS.
//
//	NATS_URI     address of NATS; by default NATS_URL, else nats://127.0.0.1:4222
//	HEALTH_ADDR  where GET /healthz listens; by default 127.0.0.1:0, any free port; empty disables it
//
// It is an ordinary NATS micro service that knows nothing of HTTP or Mayfly. Start
// a second one and the two share the work.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains, the second kills

	w := worker{natsURL: cmp.Or(os.Getenv("NATS_URI"), os.Getenv("NATS_URL"), nats.DefaultURL), healthAddr: "127.0.0.1:0", do: do, log: log}
	if addr, ok := os.LookupEnv("HEALTH_ADDR"); ok {
		w.healthAddr = addr
	}
	if err := w.run(ctx); err != nil {
		log.Error("worker failed", "err", err)
		os.Exit(1)
	}
}

// do is the actual work: put yours here.
func do(task string) (string, error) {
	if strings.TrimSpace(task) == "" {
		return "", errors.New("the task is empty")
	}
	return "done: " + task, nil
}

type worker struct {
	natsURL    string
	healthAddr string
	do         func(task string) (string, error)
	log        *slog.Logger
}

// run works until ctx is done, then finishes the task in hand. Only an error ends
// it earlier; a NATS outage does not, however long.
func (w worker) run(ctx context.Context) error {
	closed := make(chan struct{})
	nc, err := nats.Connect(w.natsURL,
		nats.Name("worker"),
		nats.RetryOnFailedConnect(true), // NATS may start after us
		nats.MaxReconnects(-1),          // and restart any number of times
		nats.ReconnectWait(500*time.Millisecond),
		nats.PingInterval(20*time.Second), // detects a stalled server
		nats.ConnectHandler(func(nc *nats.Conn) { w.log.Info("connected", "nats", nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { w.log.Info("reconnected", "nats", nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { w.log.Warn("disconnected", "err", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { w.log.Error("nats error", "err", err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
	)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { nc.Close(); <-closed }()
	if !nc.IsConnected() {
		w.log.Warn("waiting for nats")
	}

	service, err := micro.AddService(nc, micro.Config{
		Name: "worker", Version: "1.0.0", Description: "Does tasks.", QueueGroup: "workers",
	})
	if err != nil {
		return fmt.Errorf("add service: %w", err)
	}
	var busy sync.Mutex // held while a task runs
	err = service.AddEndpoint("tasks", micro.HandlerFunc(func(r micro.Request) {
		busy.Lock() // never waits: an endpoint gets one task at a time; for more, start more workers
		defer busy.Unlock()
		w.answer(r, service.Info().ID)
	}))
	if err != nil {
		return fmt.Errorf("subscribe to tasks: %w", err)
	}

	health, err := serveHealth(w.healthAddr, nc, service, w.log)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	defer health.close()

	select {
	case <-closed: // for good: NATS rejected the login twice
		return fmt.Errorf("connection closed: %w", nc.LastError())
	case err := <-health.failed:
		return fmt.Errorf("health: %w", err)
	case <-ctx.Done():
	}
	if err := nc.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionReconnecting) {
		return fmt.Errorf("drain: %w", err)
	}
	w.log.Info("draining")
	<-closed
	if err := nc.LastError(); errors.Is(err, nats.ErrDrainTimeout) {
		return fmt.Errorf("drain: %w", err)
	}
	busy.Lock() // without NATS, a drain does not wait for the running task
	return nil
}

// answer does one task. A panic crashes the worker, so that its supervisor notices
// and restarts it.
func (w worker) answer(r micro.Request, id string) {
	start := time.Now()
	from := micro.WithHeaders(micro.Headers{"Worker-Id": {id}})
	result, err := w.do(string(r.Data()))
	if err != nil {
		err = r.Error("400", err.Error(), nil, from)
	} else {
		err = r.Respond([]byte(result), from)
	}
	if err != nil {
		w.log.Error("reply not sent", "err", err)
		return
	}
	w.log.Info("task answered", "bytes", len(r.Data()), "duration_ms", time.Since(start).Milliseconds())
}
