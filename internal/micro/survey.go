package micro

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
)

// A Survey asks micro services one kind of question and keeps the valid answers, each
// instance once. It may ask several questions at once.
type Survey[T any] struct {
	bus   *bus.Bus
	verb  string
	parse func(bus.Answer) (_ T, why string)
	id    func(T) []string // name, version, id

	mu   sync.Mutex
	kept []T
	seen map[key]bool
}

// Pings is a Survey of the services that are there.
func Pings(b *bus.Bus) *Survey[Pong] {
	return &Survey[Pong]{bus: b, verb: ping, parse: parsePing, id: func(p Pong) []string { return []string{p.Name, p.Version, p.ID} }}
}

// Infos is a Survey of services and their endpoints.
func Infos(b *bus.Bus) *Survey[mayfly.Service] {
	return &Survey[mayfly.Service]{bus: b, verb: info, parse: parseInfo, id: func(s mayfly.Service) []string { return []string{s.Name, s.Version, s.ID} }}
}

// Stats is a Survey of services' counters.
func Stats(b *bus.Bus) *Survey[Statistics] {
	return &Survey[Statistics]{bus: b, verb: stats, parse: parseStats, id: func(s Statistics) []string { return []string{s.Name, s.Version, s.ID} }}
}

// Ask asks the services with a name, or all if it is empty, and waits like bus.Gather.
func (s *Survey[T]) Ask(ctx context.Context, name string) error {
	answers, err := s.bus.Gather(ctx, s.subject(name))
	for _, a := range answers {
		s.Add(a)
	}
	return err
}

// AskQuick is Ask that waits like bus.GatherQuick.
func (s *Survey[T]) AskQuick(ctx context.Context, first time.Duration, name string) error {
	return s.bus.GatherQuick(ctx, s.subject(name), first, s.Add)
}

func (s *Survey[T]) subject(name string) string {
	if name == "" {
		return subject(s.verb)
	}
	return subject(s.verb, name)
}

// anyWait is how long AskAny waits. The server says at once that nobody has the subject,
// unless somebody listens to everything.
const anyWait = 2 * time.Second

// AskAny asks any one instance of a service, and returns its answer, if any.
func (s *Survey[T]) AskAny(ctx context.Context, name string) (T, bool) {
	ctx, cancel := context.WithTimeout(ctx, anyWait)
	defer cancel()
	reply, err := s.bus.Call(ctx, mayfly.Call{Subject: mayfly.Subject(subject(s.verb, name))})
	if err != nil {
		return *new(T), false
	}
	v, why := s.parse(bus.Answer{Body: reply.Body})
	return v, why == ""
}

// Add keeps an answer if it is valid and the first of its instance.
func (s *Survey[T]) Add(a bus.Answer) {
	v, why := s.parse(a)
	if why != "" {
		return
	}
	id := s.id(v)
	from := key{id[0], id[2]}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.seen[from] {
		if s.seen == nil {
			s.seen = map[key]bool{}
		}
		s.seen[from] = true
		s.kept = append(s.kept, v)
	}
}

// Answers returns what was kept, by name, version and id.
func (s *Survey[T]) Answers() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.kept, func(a, b T) int { return slices.Compare(s.id(a), s.id(b)) })
	return s.kept
}
