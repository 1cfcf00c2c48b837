package mayfly

import (
	"encoding/json"
	"time"
)

// A Route turns the HTTP requests that its pattern takes into calls.
type Route struct {
	Name    string // as the manifest names it, or Service/endpoint
	Pattern Pattern

	// Where the call goes: a subject, or an endpoint of a service by name, which
	// the directory resolves at each call. Wildcards of the subject are filled
	// with the pattern's path values.
	Subject  SubjectPattern
	Service  string
	Endpoint string
	Function Name // instead of the three

	Payload Template      // of a request that has no body
	Timeout time.Duration // how long to wait for the reply; the gateway's default if zero
	CORS    *CORS         // nil answers no other origin

	// For people and for OpenAPI.
	Summary  string
	Request  json.RawMessage // JSON Schema of the body
	Response json.RawMessage // JSON Schema of the reply's body

	// Project is the name of the project that lists the route; empty for one that
	// a service's metadata gave.
	Project Name
}

// Target returns what the route calls, for people.
func (r Route) Target() string {
	if r.Function != "" {
		return string(r.Function)
	}
	if r.Service != "" {
		return r.Service + "/" + r.Endpoint
	}
	return r.Subject.String()
}

// CORS says which web pages of other origins may use a route (the CORS protocol
// of the Fetch standard).
type CORS struct {
	Origins     []string      // such as https://shop.example; * is any
	Methods     []string      // those of the pattern if empty
	Headers     []string      // request headers besides the safelisted; Content-Type if empty
	Expose      []string      // reply headers that the page may read
	Credentials bool          // cookies may come; never with origin *
	MaxAge      time.Duration // how long a browser may remember the answer
}
