package openapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly"
)

// Contents are what a document describes.
type Contents struct {
	Version   string           // of the API; 0 if empty
	Server    string           // URL at which the reader reaches the gateway; / if empty
	Own       []Path           // that are always there
	Routes    []mayfly.Route   // in order of precedence
	Functions []*mayfly.Unit   // called as /fn/<name>
	Services  []mayfly.Service // called as /svc/<service>/<endpoint>
}

// A Path is one that is read by GET.
type Path struct{ Path, Summary string }

// A Writer writes documents. It compiles a schema once, as long as each document
// has it. The zero Writer is ready to use.
type Writer struct {
	mu      sync.Mutex
	schemas map[placed]map[string]any // of the last document; nil for those that cannot be used
}

// A placed is a schema at its place in a document.
type placed struct{ place, raw string }

// Write returns the OpenAPI 3.1 document of c as indented JSON.
func (w *Writer) Write(c Contents) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := newDocument(c.Version, w.schemas)
	d.Info.Title, d.Servers = c.title(), []server{{URL: cmp.Or(c.Server, "/")}}
	for _, p := range c.Own {
		d.own(p)
	}
	for _, r := range c.Routes {
		d.route(r)
	}
	for _, f := range c.Functions {
		d.function(f)
	}
	for _, s := range c.Services {
		d.service(s)
	}
	w.schemas = d.compiled
	body, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "write OpenAPI document: %w", err)
	}
	return append(body, '\n'), nil
}

// title returns the name of the project that all of c belongs to, or else Mayfly's.
func (c Contents) title() string {
	title := mayfly.Name("")
	another := func(project mayfly.Name) bool {
		title = cmp.Or(title, project)
		return project != "" && project != title
	}
	if slices.ContainsFunc(c.Routes, func(r mayfly.Route) bool { return another(r.Project) }) ||
		slices.ContainsFunc(c.Functions, func(f *mayfly.Unit) bool { return another(f.Project) }) {
		title = ""
	}
	return string(cmp.Or(title, "mayfly"))
}

type server struct {
	URL string `json:"url"`
}

// A document is an OpenAPI 3.1 description, as far as we write one.
// https://spec.openapis.org/oas/v3.1.1.html
type document struct {
	OpenAPI string `json:"openapi"`
	Info    struct {
		Title   string `json:"title"`
		Version string `json:"version"`
	} `json:"info"`
	Servers    []server                         `json:"servers"`
	Paths      map[string]map[string]*operation `json:"paths"`
	Components struct {
		Schemas map[string]any `json:"schemas"`
	} `json:"components"`

	shapes   map[string]string          // a path without its parameters' names -> the path as first written
	ids      map[string]int             // operation ids in use, and how many asked for each
	given    map[string]json.RawMessage // the schemas as they came, by their component's name
	before   map[placed]map[string]any  // compiled for the last document
	compiled map[placed]map[string]any  // compiled for this one
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

func newDocument(version string, before map[placed]map[string]any) *document {
	d := &document{
		OpenAPI: "3.1.0", Paths: map[string]map[string]*operation{},
		shapes: map[string]string{}, ids: map[string]int{}, given: map[string]json.RawMessage{},
		before: before, compiled: map[placed]map[string]any{},
	}
	d.Info.Version = cmp.Or(version, "0")
	text := map[string]any{"type": "string"}
	d.Components.Schemas = map[string]any{"problem": map[string]any{
		"type":        "object",
		"description": "An error reported by the gateway (RFC 9457)",
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
	notWord      = regexp.MustCompile(`[^a-zA-Z0-9]+`)
)

// openMethods are those that OpenAPI knows, in the order of its specification.
var openMethods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// anyMethods stand for a pattern that takes every method.
var anyMethods = []string{"get", "put", "post", "delete", "patch"}

func (d *document) own(p Path) {
	d.add(p.Path, "get", &operation{
		OperationID: strings.TrimPrefix(p.Path, "/"), Summary: p.Summary, Tags: []string{"mayfly"},
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
func tag(r mayfly.Route) string { return cmp.Or(r.Service, string(r.Function), string(r.Project)) }

// service describes the endpoints that /svc reaches.
func (d *document) service(s mayfly.Service) {
	for _, e := range s.Endpoints {
		if strings.HasPrefix(e.Subject, mayfly.SubjectFunctions+".") {
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
func (d *document) function(f *mayfly.Unit) {
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
	op.OperationID = d.unique(op.OperationID)
}

// unique returns id as an identifier, which generated clients call their functions, with a
// number if it was used before.
func (d *document) unique(id string) string {
	id = notWord.ReplaceAllString(id, "_")
	if id[0] >= '0' && id[0] <= '9' {
		id = "_" + id
	}
	free := id
	for d.ids[free] > 0 {
		d.ids[id]++
		free = id + "_" + strconv.Itoa(d.ids[id])
	}
	d.ids[free] = 1
	return free
}

func (d *document) responses(schema any) map[string]*response {
	ok := &response{Description: "The reply of the service or function"}
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

// schema puts a JSON Schema among the components and returns a reference to it, or
// nil for none and for one that cannot be used. Another schema under the same name
// gets a number.
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
			schema := d.compile("#/components/schemas/"+unique, raw)
			if schema == nil {
				return nil
			}
			d.given[unique], d.Components.Schemas[unique] = raw, schema
			return ref(unique)
		}
		unique = name + "_" + strconv.Itoa(n)
	}
}

// compile returns the schema for its place in the document, or nil if it cannot be
// used: it spoils nothing but itself.
func (d *document) compile(place string, raw json.RawMessage) map[string]any {
	at := placed{place, string(raw)}
	schema, done := d.compiled[at]
	if !done {
		if schema, done = d.before[at]; !done {
			schema, _ = Schema(raw, place)
		}
		d.compiled[at] = schema
	}
	return schema
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
