package peers

import (
	"cmp"
	"context"
	"crypto/hpke"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// Options are what a node answers with. All but Log are required. The functions must be
// safe for concurrent use.
type Options struct {
	Self    Node         // V, Key and Account are set by NewAnswerer, Unready and Hint by Ready, Units by Units
	Ready   func() error // must not block
	Units   func() []Condition
	Routes  func() []Route
	Prepare func(ctx context.Context, f mayfly.Unit) error
	State   func(name string) (State, bool) // false if nothing here has the name
	Restart func(ctx context.Context, r Restart) []Restarted
	Log     *slog.Logger // discards if nil
}

// An Answerer answers questions of other nodes and the command line.
type Answerer struct {
	options  Options
	key      hpke.PrivateKey // opens what is sealed with Self.Key
	bus      *bus.Bus
	listener *bus.Listener
	log      *slog.Logger
}

// NewAnswerer returns one that listens. Questions wait until Run answers them. ctx
// bounds the opening only.
func NewAnswerer(ctx context.Context, b *bus.Bus, o Options) (*Answerer, error) {
	key, err := kem().GenerateKey()
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "make a key: %w", err)
	}
	o.Self.V, o.Self.Key, o.Self.Account = Version, key.PublicKey().Bytes(), AccountShared
	if b.OwnAccount() {
		o.Self.Account = AccountOwn
	}
	listener, err := b.Listen(ctx,
		bus.Interest{Subject: mayfly.SubjectNodes},
		bus.Interest{Subject: mayfly.SubjectRoutes},
		bus.Interest{Subject: prepareSubject(o.Self.ID)},
		bus.Interest{Subject: stateSubject(o.Self.ID)},
		bus.Interest{Subject: restartSubject(o.Self.ID)},
	)
	if err != nil {
		return nil, err
	}
	return &Answerer{options: o, key: key, bus: b, listener: listener, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}, nil
}

// Close ends the connection.
func (a *Answerer) Close() error { return a.listener.Close() }

// Run answers until ctx ends, then finishes the questions it has.
func (a *Answerer) Run(ctx context.Context) error {
	var asked sync.WaitGroup
	defer asked.Wait()
	for {
		in, ok := a.listener.Next(ctx)
		if !ok {
			return nil
		}
		asked.Go(func() {
			if err := a.answer(ctx, in); err != nil {
				a.log.Debug("answer not sent", telemetry.KeyErr, err)
			}
		})
	}
}

func (a *Answerer) answer(ctx context.Context, in bus.Inbound) error {
	switch in.Subject() {
	case mayfly.SubjectNodes:
		self := a.options.Self
		if err := a.options.Ready(); err != nil {
			self.Unready, self.Hint = err.Error(), mayfly.HintOf(err)
		}
		self.Units = a.options.Units()
		return a.respondWithin(in, min(len(self.Units), mostUnits), func(n int) any {
			self.Units = self.Units[:n]
			return self
		})
	case mayfly.SubjectRoutes:
		return a.answerRoutes(in)
	case prepareSubject(a.options.Self.ID):
		return a.prepare(ctx, in)
	case restartSubject(a.options.Self.ID):
		return a.restart(ctx, in)
	default:
		name := string(in.Call().Body)
		state, ok := a.options.State(name)
		if !ok {
			return in.Fail(mayfly.Errorf(mayfly.NotFound, "nothing on this node is named %q", name), false)
		}
		return respond(in, state.answer())
	}
}

// prepare starts the function in the question.
func (a *Answerer) prepare(ctx context.Context, in bus.Inbound) error {
	f, err := parsePrepare(a.options.Self.ID, a.key, in.Call().Body)
	if err != nil {
		return in.Fail(err, false)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout(f))
	defer cancel()
	if err := a.options.Prepare(ctx, f); err != nil {
		return in.Fail(err, true)
	}
	return in.Respond(nil)
}

// restart replaces the instances that the question means.
func (a *Answerer) restart(ctx context.Context, in bus.Inbound) error {
	var r Restart
	if err := json.Unmarshal(in.Call().Body, &r); err != nil || (r.Name == "") == (r.Secret == "") {
		return in.Fail(mayfly.Errorf(mayfly.Invalid, "the request names no function, service or secret"), false)
	}
	ctx, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	units := a.options.Restart(ctx, r)
	if units == nil {
		units = []Restarted{} // in JSON an empty list is []
	}
	return respond(in, restartAnswer{V: Version, Units: units})
}

// answerRoutes answers with the routes.
func (a *Answerer) answerRoutes(in bus.Inbound) error {
	routes := slices.Clone(a.options.Routes()) // others may be answered meanwhile
	for i := range routes {
		routes[i].V = Version
	}
	return a.respondWithin(in, len(routes), func(n int) any { return routes[:n] })
}

// mostUnits is more than anybody reads, and quickly written.
const mostUnits = 4_000

// respondWithin cuts the answer's list, of n items, to what fits one message.
func (a *Answerer) respondWithin(in bus.Inbound, n int, answer func(n int) any) error {
	for {
		data, err := json.Marshal(answer(n))
		if err != nil {
			return in.Fail(mayfly.Errorf(mayfly.Internal, "write JSON: %w", err), false)
		}
		if n == 0 || int64(len(data)) < a.bus.MaxPayload()-1024 {
			return in.Respond(data)
		}
		n /= 2
	}
}

func respond(in bus.Inbound, answer any) error {
	data, err := json.Marshal(answer)
	if err != nil {
		return in.Fail(mayfly.Errorf(mayfly.Internal, "write JSON: %w", err), false)
	}
	return in.Respond(data)
}
