package mayfly

import (
	"maps"
	"runtime"
	"strconv"
	"time"
)

// An Engine is a way to make instances of a program.
type Engine string

// The engines.
const (
	EngineHTTP    Engine = "http"    // a long-lived process that answers HTTP on a socket
	EngineExec    Engine = "exec"    // one process for each call
	EngineService Engine = "service" // a long-lived process that speaks NATS itself
)

// A Program is what instances are made of: where the code is, how it is started
// and what it gets.
type Program struct {
	Engine  Engine            `json:"engine"`
	Start   []string          `json:"start"`             // command line, run in the bundle's folder
	Bundles map[string]string `json:"bundles,omitempty"` // by platform, see Platform: sha256 of the bundle in hex
	CGI     bool              `json:"cgi,omitempty"`     // exec: stdout begins with headers (RFC 3875)
	Env     map[string]string `json:"env,omitempty"`     // besides what every instance gets
	Secrets []string          `json:"secrets,omitempty"` // names; "api-key" is given as API_KEY
	Creds   string            `json:"creds,omitempty"`   // secret that holds the NATS credentials of the instances
	Memory  int64             `json:"memory,omitempty"`  // bytes that an instance and its children may use; 0 is no limit
	Labels  map[string]string `json:"labels,omitempty"`  // that a node must have to run it
}

// AnyPlatform is the platform of bundles that run everywhere.
const AnyPlatform = "any"

// Platform returns the platform of this process, such as linux/amd64.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }

// Bundle returns the digest of the bundle that runs on a platform, or "".
func (p Program) Bundle(platform string) string {
	if digest, ok := p.Bundles[platform]; ok {
		return digest
	}
	return p.Bundles[AnyPlatform]
}

// A Function is code that answers calls, known by a name.
type Function struct {
	Name     Name              `json:"name"`
	Revision uint64            `json:"revision,omitempty"` // grows by one with every deploy, from 1; 0 while it is developed
	Project  Name              `json:"project,omitempty"`
	Summary  string            `json:"summary,omitempty"`  // one line for people
	HTTP     []Pattern         `json:"http,omitempty"`     // the function's own HTTP paths, besides /fn/<name>
	Metadata map[string]string `json:"metadata,omitempty"` // shown to `nats micro info` as it is
	Program
	Limits
}

// Limits bound what a function's calls and instances may take. A zero field
// stands for the default that WithDefaults sets.
type Limits struct {
	Timeout     Duration  `json:"timeout,omitzero"`      // from the request's end to the reply's headers; 30 s
	IdleTimeout Duration  `json:"idle_timeout,omitzero"` // between two bytes of a streamed body; 60 s
	Body        int64     `json:"body,omitzero"`         // bytes of a request; the gateway's limit if 0
	Concurrency int       `json:"concurrency,omitzero"`  // calls at once in one instance; 16, exec always 1
	Wait        int       `json:"wait,omitzero"`         // calls that may wait for an instance; 100, none if negative
	Instances   Instances `json:"instances,omitzero"`
}

// Instances say how many there may be of a function on one node, and when they
// come and go.
type Instances struct {
	Min   int      `json:"min,omitzero"`   // kept warm; 0 starts with the first call
	Max   int      `json:"max,omitzero"`   // 4, or Min if that is more
	Idle  Duration `json:"idle,omitzero"`  // without a call, before one above Min stops; 5 min
	Start Duration `json:"start,omitzero"` // until one must be ready; 10 s
}

// WithDefaults returns l with every zero field set to what it stands for, but
// Body, whose default is the gateway's.
func (l Limits) WithDefaults() Limits {
	set(&l.Timeout, Duration(30*time.Second))
	set(&l.IdleTimeout, Duration(time.Minute))
	set(&l.Concurrency, 16)
	set(&l.Wait, 100)
	set(&l.Instances.Max, max(4, l.Instances.Min))
	set(&l.Instances.Idle, Duration(5*time.Minute))
	set(&l.Instances.Start, Duration(10*time.Second))
	return l
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Hosted is a service that Mayfly runs: a program of its own on the bus, kept
// alive in a number of instances.
type Hosted struct {
	Name      string `json:"name"` // as ADR-32 allows it
	Revision  uint64 `json:"revision,omitempty"`
	Project   Name   `json:"project,omitempty"`
	Instances int    `json:"instances"`
	Program
}

// String returns the revision for people, as Function.String does.
func (h Hosted) String() string {
	if h.Revision == 0 {
		return h.Name + "@dev"
	}
	return h.Name + "@" + strconv.FormatUint(h.Revision, 10)
}

// A Duration is a time.Duration that is text in JSON, such as "1m30s".
type Duration time.Duration

// String returns the form that time.ParseDuration reads.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Errors have code Invalid.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return Errorf(Invalid, "%q is no duration", clip(string(text))).WithHint(`write it like "30s" or "5m"`)
	}
	*d = Duration(parsed)
	return nil
}

// Ref returns the function's revision as a reference.
func (f Function) Ref() Ref { return Ref{Name: f.Name, Revision: f.Revision} }

// String returns the revision for people: hello@7, or hello@dev while it is
// developed.
func (f Function) String() string {
	if f.Revision == 0 {
		return string(f.Name) + "@dev"
	}
	return f.Ref().String()
}

// Service returns how the function shows itself to NATS as a micro service
// (ADR-32): the service has the function's name and version 1.0.<revision>, and
// one endpoint named "call" on the function's subject. The id tells one
// instance from another and is the caller's to choose.
func (f Function) Service(id string) Service {
	meta := maps.Clone(f.Metadata)
	if meta == nil {
		meta = map[string]string{}
	}
	if f.Summary != "" {
		meta[MetaSummary] = f.Summary
	}
	if f.Timeout != 0 {
		meta[MetaTimeout] = f.Timeout.String()
	}
	for _, p := range f.HTTP {
		if meta[MetaHTTP] != "" {
			meta[MetaHTTP] += "\n"
		}
		meta[MetaHTTP] += p.String()
	}
	return Service{
		Name:        string(f.Name),
		ID:          id,
		Version:     "1.0." + strconv.FormatUint(f.Revision, 10),
		Description: f.Summary,
		Metadata:    map[string]string{},
		Endpoints: []Endpoint{{
			Name:     FunctionEndpoint,
			Subject:  FunctionSubject(f.Name),
			Queue:    FunctionQueue,
			Metadata: meta,
		}},
	}
}
