package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/nearest"
)

// An identity is what every answer to $SRV begins with (ADR-32). Who answers is
// anybody on the bus: an answer that does not parse is skipped and hides no other,
// and one that does may still hold any text.
type identity struct {
	Name     string         `json:"name"`
	ID       string         `json:"id"`
	Version  string         `json:"version"`
	Metadata micro.Metadata `json:"metadata"`
}

func (i identity) valid() bool { return i.Name != "" && i.ID != "" }

func (i identity) compare(j identity) int {
	return cmp.Or(cmp.Compare(i.Name, j.Name), cmp.Compare(i.Version, j.Version), cmp.Compare(i.ID, j.ID))
}

// An infoAnswer is what one instance says to $SRV.INFO.
type infoAnswer struct {
	identity
	Description string         `json:"description"`
	Endpoints   []infoEndpoint `json:"endpoints"`
}

type infoEndpoint struct {
	Name     string         `json:"name"`
	Subject  string         `json:"subject"`
	Queue    string         `json:"queue_group"`
	Metadata micro.Metadata `json:"metadata"`
}

// isFunction tells a function from a service: it answers below fn.
func (a infoAnswer) isFunction() bool {
	return slices.ContainsFunc(a.Endpoints, func(e infoEndpoint) bool { return ofFunction(e.Subject) })
}

func ofFunction(subject string) bool { return strings.HasPrefix(subject, mayfly.SubjectFunctions+".") }

func (a infoAnswer) kind() string { return kindOf(a.isFunction()) }

func kindOf(function bool) string {
	if function {
		return "function"
	}
	return "service"
}

// A statsAnswer is what one instance says to $SRV.STATS.
type statsAnswer struct {
	identity
	Started   time.Time       `json:"started"`
	Endpoints []statsEndpoint `json:"endpoints"`
}

func (a statsAnswer) kind() string {
	return kindOf(slices.ContainsFunc(a.Endpoints, func(e statsEndpoint) bool { return ofFunction(e.Subject) }))
}

type statsEndpoint struct {
	Name      string        `json:"name"`
	Subject   string        `json:"subject"`
	Requests  uint64        `json:"num_requests"`
	Errors    uint64        `json:"num_errors"`
	LastError string        `json:"last_error"`
	Time      time.Duration `json:"processing_time"` // of all requests together
	Live      live          `json:"data"`
}

// live is what a function says of itself beyond ADR-32. The data of a service are
// its own and may be anything: what does not fit is as if it were not there.
type live struct {
	Engine    string
	Instances int
	Failing   bool
}

// UnmarshalJSON never fails, so that no answer is lost by its data.
func (l *live) UnmarshalJSON(data []byte) error {
	var known struct {
		Engine    string `json:"engine"`
		Instances uint16 `json:"instances"`
		Failing   bool   `json:"failing"`
	}
	if json.Unmarshal(data, &known) == nil {
		*l = live{Engine: known.Engine, Instances: int(known.Instances), Failing: known.Failing}
	}
	return nil
}

// A crop is what was made of answers: those that parse and are valid, each instance
// once. The zero value with an id is empty.
type crop[T any] struct {
	id   func(T) identity
	kept []T
	seen map[instance]bool
}

type instance struct{ name, id string }

// add keeps an answer, if it is worth it.
func (c *crop[T]) add(a bus.Answer) {
	var v T
	if json.Unmarshal(a.Body, &v) != nil || !c.id(v).valid() {
		return
	}
	if c.seen == nil {
		c.seen = map[instance]bool{}
	}
	if from := (instance{c.id(v).Name, c.id(v).ID}); !c.seen[from] {
		c.seen[from] = true
		c.kept = append(c.kept, v)
	}
}

// sorted returns what is kept, in a stable order.
func (c *crop[T]) sorted() []T {
	slices.SortStableFunc(c.kept, func(a, b T) int { return c.id(a).compare(c.id(b)) })
	return c.kept
}

// parseAnswers returns the crop of answers that are all there.
func parseAnswers[T any](answers []bus.Answer, id func(T) identity) []T {
	c := crop[T]{id: id}
	for _, a := range answers {
		c.add(a)
	}
	return c.sorted()
}

func infoID(a infoAnswer) identity   { return a.identity }
func statsID(a statsAnswer) identity { return a.identity }

// ask sends a question to all micro services, or to those of one name, and
// gathers the answers. verb is PING, INFO or STATS.
func ask(ctx context.Context, b *bus.Bus, verb, name string) ([]bus.Answer, error) {
	subject := mayfly.SubjectMicro + "." + verb
	if name != "" {
		subject += "." + name
	}
	return b.Gather(ctx, subject)
}

// checkName refuses what cannot be one token of a subject that is asked.
func checkName(name string) error {
	if s, err := mayfly.ParseSubject(name); err != nil || strings.Contains(string(s), ".") {
		return mayfly.Errorf(mayfly.Invalid, "%q cannot be the name of a service", clip(name)).
			WithHint("a name has no spaces, dots or wildcards; mayfly list shows those that are there")
	}
	return nil
}

// nobodyCalled says that there is no such service or function and which name may
// have been meant.
func nobodyCalled(ctx context.Context, b *bus.Bus, name string) error {
	missing := mayfly.Errorf(mayfly.NotFound, "no service or function %q", name)
	answers, err := ask(ctx, b, "PING", "")
	if err != nil {
		return err
	}
	var names []string
	for _, a := range parseAnswers(answers, func(i identity) identity { return i }) {
		names = append(names, a.Name)
	}
	if near, ok := nearest.To(name, names); ok {
		return missing.WithHint("did you mean %s?", near)
	}
	return missing.WithHint("mayfly list shows the services that are there")
}
