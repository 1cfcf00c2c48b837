package mayfly

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// A Service is a running instance of a NATS micro service, as its $SRV.INFO (ADR-32)
// describes it.
type Service struct {
	Name        string            `json:"name"`
	ID          string            `json:"id"`
	Version     string            `json:"version"`
	Description string            `json:"description"`
	Metadata    map[string]string `json:"metadata"`
	Endpoints   []Endpoint        `json:"endpoints"`
	Started     time.Time         `json:"started,omitzero"` // zero if unknown: STATS has it, INFO does not
}

// Compare orders services by precedence of their patterns: the oldest first, then by
// name. Those whose age is not known yet come last.
func (s Service) Compare(other Service) int {
	if x, y := s.Started.IsZero(), other.Started.IsZero(); x != y {
		if x {
			return 1
		}
		return -1
	}
	return cmp.Or(s.Started.Compare(other.Started), strings.Compare(s.Name, other.Name), strings.Compare(s.ID, other.ID))
}

// An Endpoint is a subject that a service answers on.
type Endpoint struct {
	Name     string            `json:"name"`
	Subject  string            `json:"subject"` // may contain wildcards
	Queue    string            `json:"queue_group"`
	Metadata map[string]string `json:"metadata"`
}

// maxPatterns is the most patterns in one endpoint's metadata.
const maxPatterns = 32

// Routes returns the routes in the endpoint's metadata. An invalid value loses only its
// route; an invalid timeout or schema is ignored, because the route works without it.
func (e Endpoint) Routes(service string) []Route {
	subject, err := ParseSubjectPattern(e.Subject)
	if err != nil {
		return nil
	}
	payload, err := ParseTemplate(e.Metadata[MetaPayload])
	if err != nil {
		return nil
	}
	base := Route{
		Name: service + "/" + e.Name, Service: service, Endpoint: e.Name, Subject: subject,
		Payload: payload, Summary: e.Metadata[MetaSummary],
		Timeout: Duration(e.Timeout()), CORS: e.CORS(), Request: e.Schema(MetaRequest), Response: e.Schema(MetaResponse),
	}
	var routes []Route
	for line := range strings.Lines(e.Metadata[MetaHTTP]) {
		line = strings.TrimSpace(line)
		p, err := ParsePattern(line)
		if line == "" || err != nil || len(routes) == maxPatterns {
			continue
		}
		r := base
		r.Pattern = p
		routes = append(routes, r)
	}
	return routes
}

// Timeout returns how long the endpoint asks callers to wait, or 0.
func (e Endpoint) Timeout() time.Duration {
	d, err := time.ParseDuration(e.Metadata[MetaTimeout])
	if err != nil || d < 0 {
		return 0
	}
	return d
}

// CORS returns which pages of other origins may use the endpoint, or nil. A value that
// could not be in a manifest counts as none.
func (e Endpoint) CORS() *CORS {
	text := e.Metadata[MetaCORS]
	if text == "" {
		return nil
	}
	var c CORS
	if err := json.Unmarshal([]byte(text), &c); err != nil || c.Credentials && slices.Contains(c.Origins, "*") {
		return nil
	}
	return &c
}

// Schema returns the JSON Schema under a metadata key, MetaRequest or MetaResponse, or
// nil if there is none.
func (e Endpoint) Schema(key string) json.RawMessage {
	text := e.Metadata[key]
	if text == "" || !json.Valid([]byte(text)) {
		return nil
	}
	if text = strings.TrimSpace(text); text[0] != '{' && text != "true" && text != "false" {
		return nil
	}
	return json.RawMessage(text)
}
