package mayfly

import (
	"cmp"
	"encoding/json"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// An Engine is a way to run instances of a program.
type Engine string

// The engines.
const (
	EngineHTTP    Engine = "http"    // a long-lived process that answers HTTP on a socket
	EngineExec    Engine = "exec"    // one process per call
	EngineService Engine = "service" // a long-lived process that speaks NATS itself
	EngineStatic  Engine = "static"  // no process: the node serves the files itself
)

// A Program describes what instances run: where the code is, how it starts and what it
// gets.
type Program struct {
	Engine   Engine            `json:"engine"`
	Start    []string          `json:"start"`              // command line, run in the bundle's folder; static: the folder of the files
	Bundles  map[string]string `json:"bundles,omitempty"`  // by platform, see Platform: sha256 of the bundle in hex
	CGI      bool              `json:"cgi,omitempty"`      // exec: stdout begins with headers (RFC 3875)
	Fallback string            `json:"fallback,omitempty"` // static: file that answers paths without one
	Env      map[string]string `json:"env,omitempty"`      // added to what every instance gets
	Secrets  []string          `json:"secrets,omitempty"`  // names; "api-key" is given as API_KEY
	Creds    string            `json:"creds,omitempty"`    // the secret with the instances' NATS credentials
	Memory   int64             `json:"memory,omitempty"`   // limit in bytes of an instance and its children; 0 is none
	Disk     int64             `json:"disk,omitempty"`     // limit in bytes of what an instance keeps in TMPDIR; 0 is none
	Labels   map[string]string `json:"labels,omitempty"`   // that a node must have to run it
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

// Uses reports whether instances get the secret of a name.
func (p Program) Uses(secret Name) bool {
	return secret != "" && (p.Creds == string(secret) || slices.Contains(p.Secrets, string(secret)))
}

// NoHeaders reports whether replies cannot have headers: a plain script prints the body alone.
func (p Program) NoHeaders() bool { return p.Engine == EngineExec && !p.CGI }

// A Kind is how a unit is reached.
type Kind int

// The kinds.
const (
	KindFunction Kind = iota // Mayfly delivers its calls
	KindService              // it answers on NATS itself
)

// String returns the word used in commands, registry keys and messages.
func (k Kind) String() string { return [...]string{"function", "service"}[k] }

// A Unit is a function or service, developed and deployed under one name. Its JSON
// omits the kind: set Kind before unmarshaling.
type Unit struct {
	Kind     Kind   `json:"-"`
	Name     Name   `json:"name"`               // see Kind.ParseName
	Revision uint64 `json:"revision,omitempty"` // starts at 1 and grows with every deploy; 0 in development
	Project  Name   `json:"project,omitempty"`
	Program
	Limits // for a service only Instances, with Min equal to Max

	// Functions only.
	Summary  string            `json:"summary,omitempty"`  // one-line description
	HTTP     []Pattern         `json:"http,omitempty"`     // its own HTTP paths, besides /fn/<name>
	CORS     *CORS             `json:"cors,omitempty"`     // for all its paths; nil leaves CORS to the function
	Metadata map[string]string `json:"metadata,omitempty"` // shown by `nats micro info`
}

// MarshalJSON writes the instances of a service as a number.
func (u Unit) MarshalJSON() ([]byte, error) {
	type plain Unit // has no MarshalJSON
	if u.Kind == KindFunction {
		return json.Marshal(plain(u))
	}
	return json.Marshal(struct {
		plain
		Instances int `json:"instances"`
	}{plain(u), u.Instances.Min})
}

// UnmarshalJSON reads the output of MarshalJSON for a unit of the same kind.
func (u *Unit) UnmarshalJSON(data []byte) (err error) {
	type plain Unit // has no UnmarshalJSON
	if u.Kind == KindFunction {
		return json.Unmarshal(data, (*plain)(u))
	}
	s := struct {
		*plain
		Name      string `json:"name"`
		Instances int    `json:"instances"`
	}{plain: (*plain)(u)}
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	u.Instances = Exactly(s.Instances)
	u.Name, err = u.Kind.ParseName(s.Name)
	return err
}

// WithDefaults is Limits.WithDefaults, but keeps a service's number of instances.
func (u Unit) WithDefaults() Limits {
	l := u.Limits.WithDefaults()
	if u.Kind == KindService {
		l.Instances.Max = l.Instances.Min
	}
	return l
}

// Ref returns the unit's revision as a reference.
func (u Unit) Ref() Ref { return Ref{Name: u.Name, Revision: u.Revision} }

// String returns the revision for people: hello@7, or hello@dev in development.
func (u Unit) String() string {
	if u.Revision == 0 {
		return string(u.Name) + "@dev"
	}
	return u.Ref().String()
}

const (
	// FunctionTimeout is the timeout of functions that set none.
	FunctionTimeout = 30 * time.Second

	// FunctionGrace is how much longer a caller on the bus waits than the function's own node,
	// which knows better what took so long.
	FunctionGrace = 500 * time.Millisecond
)

// Limits bound a unit's calls and instances. A zero field means the default that
// WithDefaults sets.
type Limits struct {
	Timeout     Duration  `json:"timeout,omitzero"`      // from the request's end to the reply's headers; 30 s
	IdleTimeout Duration  `json:"idle_timeout,omitzero"` // between two bytes of a streamed body; 60 s
	Body        int64     `json:"body,omitzero"`         // bytes of a request; the gateway's limit if 0
	Concurrency int       `json:"concurrency,omitzero"`  // calls at once per instance; 64, exec always 1
	Wait        int       `json:"wait,omitzero"`         // calls that may wait for an instance; 100, none if negative
	Instances   Instances `json:"instances,omitzero"`
}

// Instances say how many instances of a unit a node runs, and when they start and stop.
type Instances struct {
	Min   int      `json:"min,omitzero"`   // kept warm; 0 starts with the first call
	Max   int      `json:"max,omitzero"`   // 4, or Min if that is more
	Idle  Duration `json:"idle,omitzero"`  // time without a call before one above Min stops; 5 min
	Start Duration `json:"start,omitzero"` // until one must be ready; 10 s
}

// Exactly returns the Instances of a service with n.
func Exactly(n int) Instances { return Instances{Min: n, Max: n} }

// WithDefaults returns l with every zero field set to its default, except Body, whose
// default is the gateway's.
func (l Limits) WithDefaults() Limits {
	l.Timeout = cmp.Or(l.Timeout, Duration(FunctionTimeout))
	l.IdleTimeout = cmp.Or(l.IdleTimeout, Duration(time.Minute))
	l.Concurrency = cmp.Or(l.Concurrency, 64)
	l.Wait = cmp.Or(l.Wait, 100)
	l.Instances.Max = cmp.Or(l.Instances.Max, max(4, l.Instances.Min))
	l.Instances.Idle = cmp.Or(l.Instances.Idle, Duration(5*time.Minute))
	l.Instances.Start = cmp.Or(l.Instances.Start, Duration(10*time.Second))
	return l
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
		return Errorf(Invalid, "%q is not a duration", Clip(string(text))).WithHint(`write it like "30s" or "5m"`)
	}
	*d = Duration(parsed)
	return nil
}

// Service describes the function as a NATS micro service (ADR-32): it has the function's
// name, version 1.0.<revision>, and one endpoint named "call" on the function's subject.
// The caller chooses the id, which tells instances apart.
func (u Unit) Service(id string) Service {
	meta := maps.Clone(u.Metadata)
	if meta == nil {
		meta = map[string]string{}
	}
	if u.Summary != "" {
		meta[MetaSummary] = u.Summary
	}
	if u.Timeout != 0 {
		meta[MetaTimeout] = u.Timeout.String()
	}
	if u.CORS != nil {
		text, _ := json.Marshal(u.CORS) // texts and a bool always marshal
		meta[MetaCORS] = string(text)
	}
	for _, p := range u.HTTP {
		if meta[MetaHTTP] != "" {
			meta[MetaHTTP] += "\n"
		}
		meta[MetaHTTP] += p.String()
	}
	return Service{
		Name:        string(u.Name),
		ID:          id,
		Version:     "1.0." + strconv.FormatUint(u.Revision, 10),
		Description: u.Summary,
		Metadata:    map[string]string{},
		Endpoints: []Endpoint{{
			Name:     FunctionEndpoint,
			Subject:  FunctionSubject(u.Name),
			Queue:    FunctionQueue,
			Metadata: meta,
		}},
	}
}
