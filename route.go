package mayfly

import (
	"encoding/json"
	"time"
)

// A Route maps the HTTP requests that match its pattern to calls.
type Route struct {
	Name    string // its name in the manifest, or Service/endpoint
	Pattern Pattern

	// The target: a subject, or an endpoint of a service by name, which the
	// directory resolves at each call. The path values fill the subject's wildcards.
	Subject  SubjectPattern
	Service  string
	Endpoint string
	Function Name // instead of the fields above

	Payload Template      // for requests without a body
	Timeout time.Duration // how long to wait for the reply; the gateway's default if zero
	CORS    *CORS         // nil allows no other origin

	// Descriptions, also for OpenAPI.
	Summary  string
	Request  json.RawMessage // JSON Schema of the body
	Response json.RawMessage // JSON Schema of the reply's body

	// Project is the project that lists the route; empty if it came from a
	// service's metadata.
	Project Name
}

// Target describes what the route calls.
func (r Route) Target() string {
	if r.Function != "" {
		return string(r.Function)
	}
	if r.Service != "" {
		return r.Service + "/" + r.Endpoint
	}
	return r.Subject.String()
}

// CORS says which web pages of other origins may use a route (Fetch standard).
type CORS struct {
	Origins     []string      // such as https://shop.example; * is any
	Methods     []string      // those of the pattern if empty
	Headers     []string      // request headers besides the safelisted ones; Content-Type if empty
	Expose      []string      // reply headers that pages may read
	Credentials bool          // allow cookies; never with origin *
	MaxAge      time.Duration // how long browsers may cache the answer
}
