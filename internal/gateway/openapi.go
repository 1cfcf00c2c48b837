package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// openAPI answers GET /openapi.json: OpenAPI 3.1 of everything the gateway serves,
// made from the routes in force and the services' live metadata.
func (g *Gateway) openAPI(x *exchange, r *http.Request) error {
	x.kind = kindBuiltin
	if err := allowGet(r); err != nil {
		return err
	}
	d := newDocument(g.options.Version)
	d.builtin("/healthz", "Is the process alive?")
	d.builtin("/readyz", "Can calls be made?")
	d.builtin("/openapi.json", "This document")
	d.builtin("/svc", "The services and endpoints that may be called")
	for _, e := range g.table.Load().entries {
		d.route(e.Route)
	}
	for _, f := range g.functions.Functions() {
		d.function(*f)
	}
	for _, s := range g.directory.Services() {
		if g.exposed(s.Name) {
			d.service(s)
		}
	}
	return g.writeJSON(x, d)
}

// A document is an OpenAPI 3.1 description, as far as we write one.
// https://spec.openapis.org/oas/v3.1.1.html
type document struct {
	OpenAPI string `json:"openapi"`
	Info    struct {
		Title   string `json:"title"`
		Version string `json:"version"`
	} `json:"info"`
	Paths      map[string]map[string]*operation `json:"paths"`
	Components struct {
		Schemas map[string]any `json:"schemas"`
	} `json:"components"`

	shapes map[string]string          // a path with its parameters' names left out -> the path as first written
	ids    map[string]struct{}        // operation ids in use
	given  map[string]json.RawMessage // the schemas as they came, by their component's name
}

type operation struct {
	OperationID string               `json:"operationId"`
	Summary     string               `json:"summary,omitempty"`
	Tags        []string             `json:"tags,omitempty"`
	Parameters  []parameter          `json:"parameters,omitempty"`
	RequestBody *requestBody         `json:"requestBody,omitempty"`
	Responses   map[string]*response `json:"responses"`
}

type parameter struct {
	Name     string         `json:"name"`
	In       string         `json:"in"`
	Required bool           `json:"required,omitempty"`
	Schema   map[string]any `json:"schema"`
}

type requestBody struct {
	Required bool                 `json:"required,omitempty"`
	Content  map[string]mediaType `json:"content"`
}

type response struct {
	Description string               `json:"description"`
	Content     map[string]mediaType `json:"content,omitempty"`
}

type mediaType struct {
	Schema any `json:"schema,omitempty"`
}

func newDocument(version string) *document {
	d := &document{
		OpenAPI: "3.1.0", Paths: map[string]map[string]*operation{},
		shapes: map[string]string{}, ids: map[string]struct{}{}, given: map[string]json.RawMessage{},
	}
	d.Info.Title, d.Info.Version = "mayfly", version
	if version == "" {
		d.Info.Version = "0"
	}
	text := map[string]any{"type": "string"}
	d.Components.Schemas = map[string]any{"problem": map[string]any{
		"type":        "object",
		"description": "An error of the gateway's own (RFC 9457)",
		"properties": map[string]any{
			"title": text, "status": map[string]any{"type": "integer"}, "code": text,
			"detail": text, "hint": text, "call": text,
		},
	}}
	return d
}

var (
	braces       = regexp.MustCompile(`\{[^{}]*\}`)
	notComponent = regexp.MustCompile(`[^a-zA-Z0-9._-]`)
)

// openMethods are those that OpenAPI knows, in the order of its specification.
var openMethods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// anyMethods stand for a pattern that takes every method.
var anyMethods = []string{"get", "put", "post", "delete", "patch"}

func (d *document) builtin(path, summary string) {
	d.add(path, "get", &operation{
		OperationID: strings.TrimPrefix(path, "/"), Summary: summary, Tags: []string{"mayfly"},
		Responses: d.responses(nil),
	})
}

// route describes a route: its path's values, the query's as far as the payload
// names them, and the schemas.
func (d *document) route(r mayfly.Route) {
	path, params := openPath(r.Pattern)
	for _, name := range r.Payload.Names() {
		if !slices.Contains(r.Pattern.Params, name) {
			params = append(params, parameter{Name: name, In: "query", Schema: map[string]any{"type": "string"}})
		}
	}
	methods := anyMethods
	if r.Pattern.Method != "" {
		methods = []string{strings.ToLower(r.Pattern.Method)}
	}
	for _, method := range methods {
		if !slices.Contains(openMethods, method) {
			continue // OpenAPI 3.1 has no place for it
		}
		op := &operation{
			OperationID: r.Name + " " + method, Summary: r.Summary, Tags: []string{tag(r)},
			Parameters: slices.Clone(params), Responses: d.responses(d.schema(r.Name+" reply", r.Response)),
		}
		if takesBody(method) {
			op.RequestBody = d.body(d.schema(r.Name+" request", r.Request))
		}
		d.add(path, method, op)
	}
}

// tag groups what belongs to one service or project.
func tag(r mayfly.Route) string {
	switch {
	case r.Service != "":
		return r.Service
	case r.Function != "":
		return string(r.Function)
	}
	return string(r.Project)
}

// service describes the endpoints that /svc reaches.
func (d *document) service(s mayfly.Service) {
	for _, e := range s.Endpoints {
		if isFunction(e) {
			continue
		}
		path := "/svc/" + url.PathEscape(s.Name) + "/" + url.PathEscape(e.Name)
		var params []parameter
		if pattern, err := mayfly.ParseSubjectPattern(e.Subject); err == nil && pattern.Wild() {
			path += "/{rest}"
			params = append(params, pathParameter("rest"))
		}
		name := s.Name + "/" + e.Name
		d.add(path, "post", &operation{
			OperationID: "svc " + name, Summary: e.Metadata[mayfly.MetaSummary], Tags: []string{s.Name},
			Parameters:  params,
			RequestBody: d.body(d.schema(name+" request", e.Schema(mayfly.MetaRequest))),
			Responses:   d.responses(d.schema(name+" reply", e.Schema(mayfly.MetaResponse))),
		})
	}
}

// function describes how a function is called by its name.
func (d *document) function(f mayfly.Function) {
	for _, method := range []string{"get", "post"} {
		op := &operation{
			OperationID: "fn " + string(f.Name) + " " + method, Summary: f.Summary, Tags: []string{string(f.Name)},
			Responses: d.responses(nil),
		}
		if takesBody(method) {
			op.RequestBody = d.body(nil)
		}
		d.add("/fn/"+string(f.Name), method, op)
	}
}

// add puts an operation in its place, unless one is there: the first is the one in
// force. Paths that differ in their parameters' names alone are one path to
// OpenAPI, so a later one takes the names of the first.
func (d *document) add(path, method string, op *operation) {
	shape := braces.ReplaceAllString(path, "{}")
	if first, ok := d.shapes[shape]; ok && first != path {
		was, is := braces.FindAllString(path, -1), braces.FindAllString(first, -1)
		for i, p := range op.Parameters {
			if j := slices.Index(was, "{"+p.Name+"}"); p.In == "path" && j >= 0 {
				op.Parameters[i].Name = strings.Trim(is[j], "{}")
			}
		}
		path = first
	}
	d.shapes[shape] = path
	if d.Paths[path] == nil {
		d.Paths[path] = map[string]*operation{}
	}
	if d.Paths[path][method] != nil {
		return
	}
	d.Paths[path][method] = op
	for id, n := op.OperationID, 2; ; n++ {
		if _, taken := d.ids[op.OperationID]; !taken {
			break
		}
		op.OperationID = id + " " + strconv.Itoa(n)
	}
	d.ids[op.OperationID] = struct{}{}
}

func (d *document) responses(schema any) map[string]*response {
	ok := &response{Description: "The reply, as the service gave it"}
	if schema != nil {
		ok.Content = map[string]mediaType{"application/json": {Schema: schema}}
	}
	return map[string]*response{
		"200": ok,
		"default": {Description: "An error", Content: map[string]mediaType{
			"application/problem+json": {Schema: ref("problem")},
		}},
	}
}

func (d *document) body(schema any) *requestBody {
	if schema == nil {
		return &requestBody{Content: map[string]mediaType{"*/*": {}}}
	}
	return &requestBody{Content: map[string]mediaType{"application/json": {Schema: schema}}}
}

func ref(name string) map[string]any {
	return map[string]any{"$ref": "#/components/schemas/" + name}
}

// schema puts a JSON Schema among the components and returns a reference to it,
// or nil for none. Another schema under the same name gets a number.
func (d *document) schema(name string, raw json.RawMessage) any {
	if raw == nil {
		return nil
	}
	name = notComponent.ReplaceAllString(name, "_")
	for unique, n := name, 2; ; n++ {
		have, taken := d.given[unique]
		if taken && bytes.Equal(have, raw) {
			return ref(unique)
		}
		if !taken && unique != "problem" {
			schema := cleanSchema(raw, "#/components/schemas/"+unique)
			if schema == nil {
				return nil
			}
			d.given[unique], d.Components.Schemas[unique] = raw, schema
			return ref(unique)
		}
		unique = name + "_" + strconv.Itoa(n)
	}
}

// openPath writes a pattern's path as OpenAPI does: {rest...} is {rest}, and {$},
// which only says where the path ends, is nothing.
func openPath(p mayfly.Pattern) (string, []parameter) {
	path := strings.TrimSuffix(strings.ReplaceAll(p.Path, "...}", "}"), "{$}")
	var params []parameter
	for _, name := range p.Params {
		params = append(params, pathParameter(name))
	}
	return path, params
}

func pathParameter(name string) parameter {
	return parameter{Name: name, In: "path", Required: true, Schema: map[string]any{"type": "string"}}
}

func takesBody(method string) bool {
	return method == "post" || method == "put" || method == "patch"
}
