package mayfly

import "encoding/json"

// A Route maps the HTTP requests that match its pattern to calls.
type Route struct {
	Name    string  `json:"name"` // its name in the manifest, or Service/endpoint
	Pattern Pattern `json:"-"`    // the registry stores all patterns of a name together

	// The target: a subject, or an endpoint of a service by name, which the
	// directory resolves at each call. The path values fill the subject's wildcards.
	Subject  SubjectPattern `json:"subject,omitzero"`
	Service  string         `json:"service,omitempty"`
	Endpoint string         `json:"endpoint,omitempty"`
	Function Name           `json:"function,omitempty"` // instead of the fields above

	Payload Template `json:"payload,omitzero"` // for requests without a body
	Timeout Duration `json:"timeout,omitzero"` // how long to wait for the reply; the gateway's default if zero
	CORS    *CORS    `json:"cors,omitempty"`   // nil allows no other origin

	// Descriptions, also for OpenAPI.
	Summary  string          `json:"summary,omitempty"`
	Request  json.RawMessage `json:"request,omitempty"`  // JSON Schema of the body
	Response json.RawMessage `json:"response,omitempty"` // JSON Schema of the reply's body

	// Project is the project that lists the route; empty if it came from a
	// service's metadata.
	Project Name `json:"project,omitempty"`
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

// CORS says which web pages of other origins may use a route or a function (Fetch standard).
type CORS struct {
	Origins     []string `json:"origins"`               // such as https://shop.example; * is any
	Methods     []string `json:"methods,omitempty"`     // those of the pattern if empty
	Headers     []string `json:"headers,omitempty"`     // request headers besides the safelisted ones; Content-Type if empty
	Expose      []string `json:"expose,omitempty"`      // reply headers that pages may read
	Credentials bool     `json:"credentials,omitempty"` // allow cookies; never with origin *
	MaxAge      Duration `json:"max_age,omitzero"`      // how long browsers may cache the answer
}
