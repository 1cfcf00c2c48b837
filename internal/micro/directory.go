package micro

import (
	"cmp"
	"context"
	"encoding/json"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/news"
)

// maxInstances bounds how many instances of services we store.
const maxInstances = 100_000

const (
	// refreshLeast and refreshEach set the pause between two rounds of questions: 2 s for
	// few services, and at most 200 answers a second for many.
	refreshLeast = 2 * time.Second
	refreshEach  = 5 * time.Millisecond

	// missedRounds is after how many unanswered rounds we forget an instance that is
	// still subscribed: it may be busy, and calls may reach it. An unsubscribed one is
	// forgotten after the first. While anybody subscribes to everything, the server takes
	// each for subscribed. So an instance of a node that answers for others is forgotten
	// after replacedRounds, and one of a silent node after silentRounds, longer than NATS
	// needs to drop a frozen one: see node.
	missedRounds   = 30
	replacedRounds = 2
	silentRounds   = 10 * missedRounds

	// maxChecks bounds how many instances a round pings to see if they are still there.
	maxChecks = 500

	// askTimeout bounds how long a caller waits for a service that the picture lacks. The
	// server says at once that nobody has a name, so whoever is waited for exists, and is
	// slow, unless somebody listens to everything. askAgain is how long an answer to that
	// question stays valid.
	askTimeout = time.Second
	askAgain   = time.Second
)

// A Directory is the live picture of all micro services on a bus (ADR-32). NATS keeps no
// list of them, and a question to all has no last answer. So the directory keeps asking,
// takes each answer when it comes, and answers from memory.
//
//	$SRV.INFO ──► services ──answers──► inbox ──► run ──► Picture ──► Lookup, Watch
//
// An invalid answer is counted and dropped, and hides no other service.
type Directory struct {
	bus     *bus.Bus
	log     *slog.Logger
	inbox   *bus.Inbox
	cancel  context.CancelFunc
	runner  sync.WaitGroup
	answers chan []byte
	forgets chan string // subjects without responders
	gone    chan key    // instances that are no longer subscribed
	picture atomic.Pointer[Picture]
	hostile atomic.Uint64

	changes news.Feed[struct{}] // of the picture

	nodes   map[string]*node          // by id; run's own
	doubts  chan mayfly.Name          // functions of which a call fell silent
	doubted map[mayfly.Name]time.Time // when that was last; run's own

	mu    sync.Mutex
	asked map[string]*question
	swept time.Time // when old questions were last removed
}

// A question asks for one name, for all callers that wait for the answer.
type question struct {
	at   time.Time
	done chan struct{} // closed when no service has that name, or after askTimeout
	err  error         // the question could not be asked; set before done is closed
}

// OpenDirectory asks for all services and returns at once; the picture fills as
// answers arrive. Close it before the bus.
func OpenDirectory(b *bus.Bus, log *slog.Logger) *Directory {
	log = cmp.Or(log, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	d := &Directory{
		bus: b, log: log, cancel: cancel,
		answers: make(chan []byte, 4096),
		forgets: make(chan string, 64),
		gone:    make(chan key, maxChecks),
		asked:   map[string]*question{},
		nodes:   map[string]*node{},
		doubts:  make(chan mayfly.Name, 64),
		doubted: map[mayfly.Name]time.Time{},
	}
	d.picture.Store(&Picture{})
	d.inbox = b.Inbox(d.take)
	b.OnNobody(d.forget)
	d.runner.Go(func() { d.run(ctx) })
	return d
}

// Close stops the asking.
func (d *Directory) Close() error {
	d.bus.OnNobody(nil)
	d.inbox.Close()
	d.cancel()
	d.runner.Wait()
	return nil
}

// Picture returns the current picture.
func (d *Directory) Picture() *Picture { return d.picture.Load() }

// Hostile returns how many answers were invalid and dropped.
func (d *Directory) Hostile() uint64 { return d.hostile.Load() }

// Lookup returns a service's endpoint by its name or, if several share it, by its
// subject. If the picture lacks it, the bus is asked by name: many callers share one
// question, and each waits at most 1 s. The error has code NotFound, and says whether
// the service or only the endpoint is missing, Unavailable if the bus could not be asked,
// or Timeout if ctx ended.
func (d *Directory) Lookup(ctx context.Context, service, endpoint string) (mayfly.Endpoint, error) {
	if e, ok := d.Picture().Lookup(service, endpoint); ok {
		return e, nil
	}
	if validName(service) {
		e, ok, err := d.askFor(ctx, service, endpoint)
		if ok || err != nil {
			return e, err
		}
	}
	if d.Picture().Has(service) {
		return mayfly.Endpoint{}, mayfly.Errorf(mayfly.NotFound, "service %q has no endpoint %q", service, endpoint).
			WithHint("run mayfly info %s to see its endpoints", service)
	}
	return mayfly.Endpoint{}, mayfly.Errorf(mayfly.NotFound, "no service %q", service).
		WithHint("run mayfly list to see what is running")
}

// askFor asks for the service and waits until the picture has the endpoint or the question
// ends.
func (d *Directory) askFor(ctx context.Context, service, endpoint string) (mayfly.Endpoint, bool, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changed := d.changes.Watch(watching)
	q := d.ask(service)
	for over := false; ; {
		// Check after watch, so that no change is missed, and once more after the question
		// ends.
		if e, ok := d.Picture().Lookup(service, endpoint); ok {
			return e, true, nil
		}
		if over {
			return mayfly.Endpoint{}, false, q.err
		}
		select {
		case <-ctx.Done():
			return mayfly.Endpoint{}, false, mayfly.Errorf(mayfly.Timeout, "look for service %q: %w", service, ctx.Err())
		case <-q.done:
			over = true
		case <-changed:
		}
	}
}

// ask asks for one service by name, unless that has just been done.
func (d *Directory) ask(service string) *question {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if q := d.asked[service]; q != nil && now.Sub(q.at) < askAgain {
		return q
	}
	if now.Sub(d.swept) >= askAgain { // not each time: a flood of wrong names must stay cheap
		d.swept = now
		maps.DeleteFunc(d.asked, func(_ string, q *question) bool { return now.Sub(q.at) >= askAgain })
	}
	q := &question{at: now, done: make(chan struct{})}
	end := sync.OnceFunc(func() { close(q.done) })
	inbox := d.bus.Inbox(func(answer []byte, nobody bool) {
		if nobody {
			end()
			return
		}
		d.take(answer, false)
	})
	if q.err = inbox.Ask(subject(info, service)); q.err != nil {
		inbox.Close()
		end()
		return q // not remembered: the connection may be back for the next caller
	}
	d.asked[service] = q
	time.AfterFunc(askTimeout, end)
	time.AfterFunc(askAgain, inbox.Close) // an answer too late for the caller is still news
	return q
}

// take queues an answer. It runs in the connection's callback, so it never blocks: if the
// queue is full the answer is lost until the next round.
func (d *Directory) take(answer []byte, _ bool) {
	if len(answer) == 0 {
		return
	}
	select {
	case d.answers <- answer:
	default:
	}
}

// forget drops the endpoints on a subject without responders.
func (d *Directory) forget(subject string) {
	select {
	case d.forgets <- subject:
	default:
	}
}

// Reach returns how to call a function: see Picture.Reach.
func (d *Directory) Reach(function mayfly.Name) (at mayfly.Subject, signs bool) {
	return d.Picture().Reach(function)
}

// Watch returns a channel that gets a value after each change of the picture; changes in
// quick succession share one. The first comes at once. The end of ctx closes the channel.
func (d *Directory) Watch(ctx context.Context) <-chan map[struct{}]struct{} {
	return d.changes.Watch(ctx)
}

// An instance is what run knows about one instance of a service.
type instance struct {
	service mayfly.Service
	node    *node  // that runs it; nil unless it is a function that says so
	hash    uint64 // of the INFO answer, to detect quickly that nothing changed
	round   int    // in which it was last heard
}

type key struct{ name, id string }

// run owns the instances. It takes all waiting answers in one batch, so that a flood makes
// few pictures.
func (d *Directory) run(ctx context.Context) {
	known := map[key]*instance{}
	seed := maphash.MakeSeed()
	round := 0
	refresh := time.NewTimer(0)
	defer refresh.Stop()
	beat := time.NewTimer(beatLeast)
	defer beat.Stop()
	for {
		changed := false
		select {
		case <-ctx.Done():
			return
		case <-refresh.C:
			refresh.Reset(refreshLeast + time.Duration(len(known))*refreshEach)
			if d.inbox.Ask(subject(info)) != nil {
				continue // not connected: silence says nothing about services
			}
			round++
			changed = d.miss(known, round)
		case <-beat.C:
			for range len(d.answers) { // in time, if not yet read
				changed = d.learn(known, <-d.answers, round, seed) || changed
			}
			changed = d.beat(known) || changed
			changed = d.trust() || changed
			beat.Reset(beatLeast + time.Duration(len(d.nodes))*refreshEach)
		case name := <-d.doubts:
			_, already := d.doubted[name]
			d.doubted[name], changed = time.Now(), !already
		case at := <-d.gone:
			_, changed = known[at]
			delete(known, at)
		case subject := <-d.forgets:
			changed = dropSubject(known, subject)
		case data := <-d.answers:
			changed = d.learn(known, data, round, seed)
			for range len(d.answers) {
				changed = d.learn(known, <-d.answers, round, seed) || changed
			}
		}
		if changed {
			d.represent(known)
			p := newPicture(known)
			for name := range d.doubted {
				p.doubt(name)
			}
			d.picture.Store(p)
			d.changes.Tell()
		}
	}
}

// miss checks the instances that did not answer the last round: a busy one is late. Each
// has its own subject, and without a subscriber there the server says so at once.
func (d *Directory) miss(known map[key]*instance, round int) (changed bool) {
	checks := 0
	heard := map[*node]int{} // the last round
	for _, in := range known {
		heard[in.node] = max(heard[in.node], in.round)
	}
	for at, in := range known {
		replaced := in.node != nil && in.round < heard[in.node]
		switch missed := round - in.round - 1; {
		case in.node == nil && missed > missedRounds, replaced && missed >= replacedRounds, missed > silentRounds:
			delete(known, at)
			changed = true
		case missed > 0 && checks < maxChecks:
			checks++
			d.check(at)
		}
	}
	return changed
}

// check pings one instance.
func (d *Directory) check(at key) {
	inbox := d.bus.Inbox(func(answer []byte, nobody bool) {
		if !nobody {
			d.take(answer, false)
			return
		}
		select {
		case d.gone <- at:
		default: // the next round asks again
		}
	})
	time.AfterFunc(askAgain, inbox.Close)
	_ = inbox.Ask(subject(ping, at.name, at.id)) // the next round asks again
}

// learn adds one answer, to INFO, STATS or PING, to known and reports whether the picture
// changes.
func (d *Directory) learn(known map[key]*instance, data []byte, round int, seed maphash.Seed) bool {
	var kind struct {
		Type    string    `json:"type"`
		Name    string    `json:"name"`
		ID      string    `json:"id"`
		Started time.Time `json:"started"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		d.reject(badJSON)
		return false
	}
	at := key{kind.Name, kind.ID}
	in := known[at]
	back := in != nil && d.answered(in.node)
	if kind.Type == typeOf(ping) && in != nil {
		in.round = round
		return back
	}
	if kind.Type == typeOf(stats) {
		if in == nil || in.service.Started.Equal(kind.Started) {
			return back
		}
		in.service.Started = kind.Started
		return true
	}
	if kind.Type != typeOf(info) {
		d.reject("not an answer to a question of ours")
		return back
	}
	hash := maphash.Bytes(seed, data)
	if in != nil && in.hash == hash {
		in.round = round
		d.askAge(in.service)
		return back
	}
	if in == nil && len(known) >= maxInstances {
		d.reject("too many services")
		return false
	}
	s, why := parseInfo(bus.Answer{Body: data})
	if why != "" {
		d.reject(why)
		return back
	}
	if in != nil {
		s.Started = in.service.Started
	}
	known[at] = &instance{service: s, node: d.nodeOf(s), hash: hash, round: round}
	d.askAge(s)
	return true
}

// askAge asks for a service's start time if it has routes and the time is unknown: the
// older of two services wins a pattern, and only STATS has the time. The next round
// repeats a lost question.
func (d *Directory) askAge(s mayfly.Service) {
	if s.Started.IsZero() && hasRoutes(s) {
		_ = d.inbox.Ask(subject(stats, s.Name, s.ID))
	}
}

func (d *Directory) reject(why string) {
	d.hostile.Add(1)
	d.log.Debug("answer to discovery dropped", "err", why)
}

func hasRoutes(s mayfly.Service) bool {
	return slices.ContainsFunc(s.Endpoints, func(e mayfly.Endpoint) bool { return e.Metadata[mayfly.MetaHTTP] != "" })
}

// dropSubject removes endpoints with exactly that subject, or a function on the node whose
// subject it is, and reports whether there were any.
func dropSubject(known map[key]*instance, subject string) (changed bool) {
	for _, in := range known {
		name, gone := mayfly.Name(in.service.Name), subject
		if in.node != nil && subject == mayfly.FunctionSubjectAt(name, in.node.id) {
			gone = mayfly.FunctionSubject(name)
		}
		kept := slices.DeleteFunc(slices.Clone(in.service.Endpoints), func(e mayfly.Endpoint) bool { return e.Subject == gone })
		if len(kept) == len(in.service.Endpoints) {
			continue
		}
		changed = true
		in.service.Endpoints = kept
		in.hash = 0 // so that its next answer brings the endpoint back
	}
	return changed
}

// Services returns the services of the current picture, the oldest first. The slice is
// shared and must not be changed.
func (d *Directory) Services() []mayfly.Service { return d.Picture().Services }
