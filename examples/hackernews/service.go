package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	serviceName = "HackerNews"
	version     = "1.0.0"
)

// A service answers requests. NATS gives each endpoint one at a time; for more, start
// more instances.
type service struct {
	*processor
	reader *reader
	nc     *nats.Conn

	busy sync.RWMutex // read-locked during a request
}

// An endpoint is a name, a subject, and metadata for gateways.
type endpoint struct {
	name, subject, group string
	answer               func(context.Context, micro.Request) (answer, error)
	within               time.Duration // deadline of the reply
	metadata             map[string]string
}

// Deadlines: for NATS alone, for one query to HackerNews, and for more.
const (
	quick = 4 * time.Second
	asks  = 12 * time.Second // three tries
	works = 20 * time.Second
)

func (s *service) endpoints() []endpoint {
	return []endpoint{
		{"fetch", "hn.fetch.ids", "fetch-group", s.fetch, works, map[string]string{
			"mayfly.summary":  "Asks HackerNews for the top stories and queues them",
			"mayfly.http":     "POST /hackernews/fetch",
			"mayfly.response": fetchedSchema,
		}},
		{"list", "hn.fetch.list", "fetch-group", s.list, quick, map[string]string{
			"mayfly.summary":  "The ids of the last fetch",
			"mayfly.http":     "GET /hackernews/list",
			"mayfly.response": idsSchema,
		}},
		{"process", "hn.process.id", "process-group", s.process, quick, map[string]string{
			"mayfly.summary":  "Queues one item without waiting for it",
			"mayfly.http":     "POST /hackernews/process/{id}",
			"mayfly.payload":  "{id}",
			"mayfly.request":  idSchema,
			"mayfly.response": queuedSchema,
		}},
		{"process-reply", "hn.process.reply", "process-group", s.processReply, asks, map[string]string{
			"mayfly.summary":  "Fetches one item now, stores it and returns it",
			"mayfly.http":     "GET /hackernews/item/{id}",
			"mayfly.payload":  "{id}",
			"mayfly.request":  idSchema,
			"mayfly.response": postSchema,
		}},
		{"sort", "hn.sort.ids", "sort-group", s.sort, works, map[string]string{
			"mayfly.summary":  "Sorts the posts of the last 24 hours by points",
			"mayfly.http":     "POST /hackernews/sort",
			"mayfly.response": reportSchema,
		}},
		{"top", "hn.sort.top", "sort-group", s.top, quick, map[string]string{
			"mayfly.summary":  "The n stories with the most points",
			"mayfly.http":     "GET /hackernews/top/{n}",
			"mayfly.payload":  "{n}",
			"mayfly.request":  numberSchema,
			"mayfly.response": topSchema,
		}},
		{"page", "hn.page", "page-group", s.page, quick, map[string]string{
			"mayfly.summary": "The top stories as a web page",
			"mayfly.http":    "GET /hackernews",
		}},
	}
}

// serve adds the service to a connection, until stop.
func serve(ctx context.Context, nc *nats.Conn, p *processor) (*service, error) {
	s := &service{processor: p, reader: &reader{state: p.state}, nc: nc}
	m, err := micro.AddService(nc, micro.Config{
		Name:        serviceName,
		Version:     version,
		Description: "The top stories of HackerNews",
		StatsHandler: func(e *micro.Endpoint) any {
			if e.Name == "process" {
				return p.counts.processed()
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	for _, e := range s.endpoints() {
		e.metadata["mayfly.timeout"] = (e.within + time.Second).String() // our own error comes first
		err := m.AddEndpoint(e.name, s.handler(ctx, e),
			micro.WithEndpointSubject(e.subject),
			micro.WithEndpointQueueGroup(e.group),
			micro.WithEndpointMetadata(e.metadata))
		if err != nil {
			return nil, fmt.Errorf("endpoint %s: %w", e.name, err)
		}
	}
	if err := nc.Flush(); err != nil && nc.IsConnected() {
		return nil, err
	}
	s.log.Info("serving", "service", serviceName, "id", m.Info().ID)
	return s, nil
}

// stop answers pending requests and closes the connection.
func (s *service) stop(closed <-chan struct{}) error {
	if err := s.nc.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionReconnecting) {
		return fmt.Errorf("drain: %w", err)
	}
	s.log.Info("draining")
	<-closed
	if err := s.nc.LastError(); errors.Is(err, nats.ErrDrainTimeout) {
		return fmt.Errorf("drain: %w", err)
	}
	s.busy.Lock() // without NATS, a drain does not wait for running requests
	return nil
}

// An answer is a reply to a request.
type answer struct {
	body        []byte
	contentType string
	header      micro.Headers // more of them
}

const contentJSON = "application/json"

func jsonAnswer(v any) (answer, error) {
	body, err := json.Marshal(v)
	return answer{body: body, contentType: contentJSON}, err
}

// maxHeader is the room for headers within NATS' payload limit.
const maxHeader = 4 << 10

// handler returns the function that handles an endpoint's messages.
func (s *service) handler(ctx context.Context, e endpoint) micro.HandlerFunc {
	log := s.log.With("endpoint", e.name)
	ctx = context.WithoutCancel(ctx) // a stop lets it reply
	return func(r micro.Request) {
		s.busy.RLock()
		defer s.busy.RUnlock()
		ctx, cancel := context.WithTimeout(ctx, e.within)
		defer cancel()

		a, err := e.answer(ctx, r)
		if limit := s.nc.MaxPayload() - maxHeader; err == nil && limit > 0 && int64(len(a.body)) > limit {
			err = faultf(http.StatusInternalServerError, "the reply has %d bytes, more than the limit of %d", len(a.body), limit)
		}
		asked := r.Reply() != ""
		if err != nil {
			level := slog.LevelDebug // the caller's mistake, told to the caller
			if !asked || codeOf(err) >= 500 {
				level = slog.LevelWarn
			}
			log.Log(ctx, level, "request failed", "err", err)
		}
		// A published message has no reply subject; a reply would count as our error.
		if !asked {
			return
		}
		if err := send(r, a, err); err != nil {
			log.Error("reply not sent", "err", err)
		}
	}
}

func send(r micro.Request, a answer, err error) error {
	if err != nil {
		return r.Error(strconv.Itoa(codeOf(err)), err.Error(), nil)
	}
	header := micro.Headers{"Content-Type": {a.contentType}}
	maps.Copy(header, a.header)
	return r.Respond(a.body, micro.WithHeaders(header))
}
