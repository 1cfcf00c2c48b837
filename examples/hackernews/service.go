package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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

// answerTime bounds what an endpoint does. It covers three tries of an item.
const answerTime = 12 * time.Second

// A service answers requests. NATS gives each endpoint one at a time; to answer
// more at once, start more instances.
type service struct {
	*processor
	reader *reader
	nc     *nats.Conn
	log    *slog.Logger

	busy sync.RWMutex // held for reading while there is a request in hand
}

// An endpoint is a name, a subject, and what makes it useful to strangers.
type endpoint struct {
	name, subject, group string
	answer               func(context.Context, micro.Request) (answer, error)
	metadata             map[string]string
}

func (s *service) endpoints() []endpoint {
	return []endpoint{
		{"fetch", "hn.fetch.ids", "fetch-group", s.fetch, map[string]string{
			"mayfly.summary":  "Asks HackerNews for the top stories and queues them",
			"mayfly.http":     "POST /hackernews/fetch",
			"mayfly.timeout":  "25s",
			"mayfly.response": fetchedSchema,
		}},
		{"list", "hn.fetch.list", "fetch-group", s.list, map[string]string{
			"mayfly.summary":  "The numbers that the last fetch found",
			"mayfly.http":     "GET /hackernews/list",
			"mayfly.response": idsSchema,
		}},
		{"process", "hn.process.id", "process-group", s.process, map[string]string{
			"mayfly.summary":  "Queues one item, and does not wait for it",
			"mayfly.http":     "POST /hackernews/process/{id}",
			"mayfly.payload":  "{id}",
			"mayfly.request":  idSchema,
			"mayfly.response": queuedSchema,
		}},
		{"process-reply", "hn.process.reply", "process-group", s.processReply, map[string]string{
			"mayfly.summary":  "Fetches one item now, keeps it and answers with it",
			"mayfly.http":     "GET /hackernews/item/{id}",
			"mayfly.payload":  "{id}",
			"mayfly.timeout":  "15s",
			"mayfly.request":  idSchema,
			"mayfly.response": postSchema,
		}},
		{"sort", "hn.sort.ids", "sort-group", s.sort, map[string]string{
			"mayfly.summary":  "Sorts the posts of the last 24 hours by points, now",
			"mayfly.http":     "POST /hackernews/sort",
			"mayfly.timeout":  "20s",
			"mayfly.response": reportSchema,
		}},
		{"top", "hn.sort.top", "sort-group", s.top, map[string]string{
			"mayfly.summary":  "The n stories with the most points",
			"mayfly.http":     "GET /hackernews/top/{n}",
			"mayfly.payload":  "{n}",
			"mayfly.request":  numberSchema,
			"mayfly.response": postsSchema,
		}},
		{"page", "hn.page", "page-group", s.page, map[string]string{
			"mayfly.summary": "The top stories as a page to look at",
			"mayfly.http":    "GET /hackernews",
		}},
	}
}

// serve adds the service to a connection. Requests come until stop.
func serve(ctx context.Context, nc *nats.Conn, p *processor, log *slog.Logger) (*service, error) {
	s := &service{processor: p, reader: &reader{state: p.state}, nc: nc, log: log}
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
	log.Info("serving", "service", serviceName, "id", m.Info().ID)
	return s, nil
}

// stop answers what came until now and closes the connection.
func (s *service) stop(closed <-chan struct{}) error {
	if err := s.nc.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionReconnecting) {
		return fmt.Errorf("drain: %w", err)
	}
	s.log.Info("draining")
	<-closed
	if err := s.nc.LastError(); errors.Is(err, nats.ErrDrainTimeout) {
		return fmt.Errorf("drain: %w", err)
	}
	s.busy.Lock() // without NATS a drain does not wait for the request in hand
	return nil
}

// An answer is what a caller gets.
type answer struct {
	body        []byte
	contentType string
	header      micro.Headers // besides
}

const contentJSON = "application/json"

func jsonAnswer(v any) (answer, error) {
	body, err := json.Marshal(v)
	return answer{body: body, contentType: contentJSON}, err
}

// handler returns what NATS calls for each message to an endpoint.
func (s *service) handler(ctx context.Context, e endpoint) micro.HandlerFunc {
	ctx = context.WithoutCancel(ctx) // who stops us lets us answer
	return func(r micro.Request) {
		s.busy.RLock()
		defer s.busy.RUnlock()
		a, err := e.answer(ctx, r)
		if limit := s.nc.MaxPayload(); err == nil && int64(len(a.body)) > limit-maxHeader && limit > 0 {
			err = faultf(http.StatusInternalServerError, "the answer has %d bytes, more than NATS takes", len(a.body))
		}
		log := s.log.With("endpoint", e.name)
		switch {
		case err != nil && (codeOf(err) >= 500 || r.Reply() == ""): // otherwise it is the caller's mistake, and told
			log.Warn("request failed", "err", err)
		case err != nil:
			log.Debug("request failed", "err", err)
		}
		// A message that was published, not requested, wants no answer. To answer it
		// nevertheless would count as an error of ours.
		if r.Reply() == "" {
			return
		}
		if err != nil {
			err = r.Error(strconv.Itoa(codeOf(err)), err.Error(), nil)
		} else {
			header := micro.Headers{"Content-Type": {a.contentType}}
			for name, values := range a.header {
				header[name] = values
			}
			err = r.Respond(a.body, micro.WithHeaders(header))
		}
		if err != nil {
			log.Error("answer was not sent", "err", err)
		}
	}
}

// maxHeader is what the headers of an answer need of NATS' limit.
const maxHeader = 4 << 10

// queued is the answer of process.
type queued struct {
	ID     int64 `json:"id"`
	Queued bool  `json:"queued"`
}

// process queues an item. It works the same for a request, which is answered, and
// for a message that was only published.
func (s *service) process(ctx context.Context, r micro.Request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	id, err := parseNumber(r.Data(), "id")
	if err != nil {
		return answer{}, err
	}
	if err := s.state.enqueue(ctx, id); err != nil {
		return answer{}, err
	}
	return jsonAnswer(queued{ID: id, Queued: true})
}

// processReply does the work of a processor for one item, at once.
func (s *service) processReply(ctx context.Context, r micro.Request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	id, err := parseNumber(r.Data(), "id")
	if err != nil {
		return answer{}, err
	}
	found, err := s.keep(ctx, id)
	if err != nil {
		return answer{}, err
	}
	s.changed.Store(true)
	return jsonAnswer(found)
}

// sort makes a report now. It waits a moment for a processor that does the same.
func (s *service) sort(ctx context.Context, _ micro.Request) (answer, error) {
	r, err := s.sorter.sort(ctx)
	for try := 1; codeOf(err) == http.StatusConflict && try < 5 && sleep(ctx, backoff(s.pace.again, try)); try++ {
		r, err = s.sorter.sort(ctx)
	}
	if err != nil {
		return answer{}, err
	}
	return jsonAnswer(r)
}

// top answers with the first posts of the latest report.
func (s *service) top(ctx context.Context, r micro.Request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	n, err := parseNumber(r.Data(), "n")
	if err != nil {
		return answer{}, err
	}
	latest, err := s.reader.latest(ctx)
	if err != nil {
		return answer{}, err
	}
	a, err := jsonAnswer(latest.top(n))
	a.header = micro.Headers{"ETag": {etag(a.body)}, "Cache-Control": {"no-cache"}}
	return a, err
}
