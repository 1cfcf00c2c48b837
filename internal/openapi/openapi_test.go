package openapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/openapi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// validate fails the test if data is not valid OpenAPI 3.1.
func validate(t *testing.T, data []byte) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatalf("load: %v\n%.4000s", err, data)
	}
	if !doc.IsOpenAPI31OrLater() {
		t.Errorf("openapi is %q", doc.OpenAPI)
	}
	// Defaults and examples are the service's own; whether they fit its own schema
	// is not the document's form.
	opts := []openapi3.ValidationOption{openapi3.DisableSchemaDefaultsValidation(), openapi3.DisableExamplesValidation()}
	if err := doc.Validate(t.Context(), opts...); err != nil {
		t.Fatalf("not valid: %v\n%.4000s", err, data)
	}
	return doc
}

// own are the paths of a gateway itself.
var own = []openapi.Path{{Path: "/healthz", Summary: "Is the process alive?"}, {Path: "/openapi.json", Summary: "This document"}}

// write returns the document of c, by a Writer that wrote none before.
func write(t testing.TB, c openapi.Contents) []byte {
	t.Helper()
	c.Own = own
	data, err := new(openapi.Writer).Write(c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func route(t testing.TB, name, pattern, subject, payload string) mayfly.Route {
	t.Helper()
	r := mayfly.Route{Name: name, Project: "test"}
	var err error
	if r.Pattern, err = mayfly.ParsePattern(pattern); err != nil {
		t.Fatal(err)
	}
	if r.Subject, err = mayfly.ParseSubjectPattern(subject); err != nil {
		t.Fatal(err)
	}
	if r.Payload, err = mayfly.ParseTemplate(payload); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDocumentGolden(t *testing.T) {
	t.Parallel()
	order := route(t, "order", "POST /orders/{id}", "orders.*", `{"id":"{id}","by":"{user}"}`)
	order.Summary = "Place an order"
	order.Request = json.RawMessage(`{"$id":"x","type":"object","properties":{"item":{"$ref":"#/$defs/item"}},"$defs":{"item":{"type":"string","minLength":1}}}`)
	order.Response = json.RawMessage(`{"type":"object"}`)
	services := []mayfly.Service{{Name: "HackerNews", ID: "1", Endpoints: []mayfly.Endpoint{
		{Name: "top", Subject: "hn.top", Metadata: map[string]string{
			mayfly.MetaHTTP: "GET /top/{n}", mayfly.MetaPayload: "{n}", mayfly.MetaSummary: "The best stories", mayfly.MetaResponse: `{"type":"array","items":{"type":"string"}}`,
		}},
		{Name: "story", Subject: "hn.story.*"},
	}}}
	top := services[0].Endpoints[0].Routes("HackerNews")[0]
	hello := mayfly.Unit{Name: "hello", Summary: "Greet somebody"}
	got := write(t, openapi.Contents{
		Version: "1.2.3", Routes: []mayfly.Route{order, route(t, "files", "GET /files/{rest...}", "files.>", ""), top},
		Functions: []*mayfly.Unit{&hello}, Services: services,
	})
	validate(t, got)
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (go test -update rewrites it): %s", golden, diff)
	}
}

// hostileSchemas are what metadata may hold. All are JSON; none may spoil the
// document.
var hostileSchemas = []string{
	`true`, `false`, `{}`, `{"type":5}`, `{"type":"strange"}`, `{"type":[]}`, `{"type":["string","string"]}`, `{"type":["string","null"]}`,
	`{"properties":[]}`, `{"properties":{"a":5,"b":true,"c":{"type":"x"},"$ref":{"type":"string"},"$id":{}}}`, `{"items":[{"type":"string"}]}`, `{"items":false}`,
	`{"required":"a"}`, `{"required":["a","a"]}`, `{"required":[1]}`, `{"enum":{}}`, `{"enum":[]}`, `{"enum":[1,"a",null,{"$ref":"#/x"}]}`,
	`{"minimum":"1"}`, `{"minimum":1e999}`, `{"exclusiveMinimum":true}`, `{"maxLength":-1}`, `{"maxLength":1.5}`, `{"maxLength":99999999999999999999}`, `{"multipleOf":0}`,
	`{"pattern":"("}`, `{"pattern":"(?=a)"}`, `{"patternProperties":{"(":{},"^a":{"type":"string"}}}`,
	`{"$ref":"#"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, `{"$ref":"#/$defs/none"}`, `{"$ref":5}`, `{"$ref":""}`,
	`{"$ref":"https://evil.test/schema.json"}`, `{"$ref":"/etc/passwd"}`, `{"$ref":"other.json#/a"}`, `{"$ref":"#/components/schemas/problem"}`, `{"$ref":"#anchor","$anchor":"anchor"}`,
	`{"$ref":"#/properties","properties":{"a":{}}}`, `{"$ref":"#/default","default":{"type":"string"}}`, `{"$ref":"#/%zz"}`, `{"$ref":"#/$defs/a%7E1b","$defs":{"a/b":{}}}`, `{"$ref":"#/$defs/a~1b","$defs":{"a/b":{"type":"string"}}}`,
	`{"properties":{"next":{"$ref":"#"}}}`, `{"allOf":[{"$ref":"#"}]}`, `{"allOf":[]}`, `{"allOf":[5,{"$ref":"#/allOf/0"}]}`, `{"anyOf":{}}`, `{"not":5}`, `{"if":{},"then":{"$ref":"#/if"}}`,
	`{"$schema":"http://json-schema.org/draft-04/schema#","$id":"https://evil.test/","$dynamicRef":"#x","$vocabulary":{"x":true}}`,
	`{"definitions":{"a":{"type":"string"}},"$ref":"#/definitions/a"}`, `{"discriminator":5,"xml":5,"externalDocs":5,"nullable":"x","example":1,"x-mine":[1]}`,
	`{"title":5,"description":[],"format":1,"deprecated":"x","readOnly":1,"contentMediaType":1,"contentSchema":1,"$comment":1,"default":{"$ref":"#"},"examples":5,"const":{"$id":1}}`,
	`{"dependentSchemas":{"a":5},"dependentRequired":{"a":5},"prefixItems":{},"unevaluatedItems":5,"propertyNames":[],"contains":1,"minContains":"1"}`,
	`{"description":"</script>\u0000\u2028\"","title":"` + strings.Repeat("t", 5000) + `"}`,
	strings.Repeat(`{"items":`, 2000) + `{}` + strings.Repeat(`}`, 2000), strings.Repeat(`{"not":`, 70) + `{"$ref":"#"}` + strings.Repeat(`}`, 70),
	`5`, `"text"`, `[]`, `null`, `{`, ``,
}

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	var services []mayfly.Service
	long := strings.Repeat("n", 200)
	for i, schema := range hostileSchemas {
		services = append(services, mayfly.Service{Name: fmt.Sprintf("S%d", i), ID: "1", Endpoints: []mayfly.Endpoint{{
			Name: "do", Subject: fmt.Sprintf("s%d", i), Metadata: map[string]string{
				mayfly.MetaHTTP: fmt.Sprintf("POST /s/%d\nPUT /s/%d/{id}", i, i), mayfly.MetaRequest: schema, mayfly.MetaResponse: schema,
			},
		}}})
	}
	ends := func(name string, ends ...mayfly.Endpoint) mayfly.Service {
		return mayfly.Service{Name: name, ID: "1", Endpoints: ends}
	}
	end := func(name, subject, http, payload, request string) mayfly.Endpoint {
		return mayfly.Endpoint{Name: name, Subject: subject, Metadata: map[string]string{
			mayfly.MetaHTTP: http, mayfly.MetaPayload: payload, mayfly.MetaRequest: request, mayfly.MetaSummary: "a\n<b> \x00 \u2028",
		}}
	}
	services = append(
		services,
		ends(long, end(long, "long", "/"+long+"/{"+long[:100]+"}", "{"+long+"}", "{}")),
		ends("A/B?C#D{e}", end("{x}", "odd.one", "", "", ""), end("%41", "odd.two", "", "", ""), end("ü §", "odd.three", "", "", "")),
		ends("a b", end("c", "same.1", "/same/1", "", `{"type":"string"}`)), // the same component's name
		ends("a_b", end("c", "same.2", "/same/2", "", `{"type":"object"}`)),
		ends("problem", end("x", "problem.x", "/problem", "", `{"type":"string"}`)),
		ends("Wild", end("w", "wild.*.x.>", "GET /wild/{a}/{b...}\nPUT /wild2/{a}", "{a}{b}{c}", "")),
		ends("fn", end("call", "fn.fn", "/function-by-metadata", "", "")),
	)
	var routes []mayfly.Route
	for i, p := range []string{
		"/", "/{$}", "GET /{a}/x", "PUT /{b}/x", "POST /{c}/x", "DELETE /{x}/{y}/swap", "PATCH /{y}/{x}/swap", "PURGE /purge", "CONNECT /connect", "TRACE /trace", "OPTIONS /options", "HEAD /head",
		"/any/{id}", "/any/{id}/", "/any/{rest...}", "GET shop.test/host/{id}", "GET other.test/host/{key}", "/ünï/{x}", `/quo"te\{z`, "/p%20c", "/{a}/{b}/{c...}",
	} {
		parsed, err := mayfly.ParsePattern(p)
		if err != nil {
			continue
		}
		r := route(t, fmt.Sprintf("r%d", i%3), "/x", "r", "{q}{a}{q}")
		r.Pattern, r.Request = parsed, json.RawMessage(hostileSchemas[i])
		routes = append(routes, r)
	}
	for _, s := range services {
		for _, e := range s.Endpoints {
			routes = append(routes, e.Routes(s.Name)...)
		}
	}
	contents := openapi.Contents{Routes: routes, Services: services}
	data := write(t, contents)
	doc := validate(t, data)
	for _, path := range []string{"/healthz", "/openapi.json", "/svc/" + long + "/" + long, "/s/0", "/trace", "/wild/{a}/{b}"} {
		if doc.Paths.Value(path) == nil {
			t.Errorf("%s is missing", path)
		}
	}
	if doc.Paths.Value("/purge") != nil {
		t.Error("a method that OpenAPI does not know has a place")
	}
	if diff := cmp.Diff(string(data), string(write(t, contents))); diff != "" {
		t.Errorf("the same routes make another document: %s", diff)
	}
	if text := string(data); strings.Contains(text, "evil.test") || strings.Contains(text, "passwd") {
		t.Error("the document refers to elsewhere")
	}
}

// describe returns the document of a service with that schema.
func describe(t testing.TB, schema string) []byte {
	t.Helper()
	return write(t, openapi.Contents{Services: []mayfly.Service{{Name: "S", ID: "1", Endpoints: []mayfly.Endpoint{
		{Name: "do", Subject: "s", Metadata: map[string]string{mayfly.MetaRequest: schema}},
	}}}})
}

// A schema that spoils the document among others must be seen alone, too.
func TestEachHostileSchemaIsValidAlone(t *testing.T) {
	t.Parallel()
	for _, schema := range hostileSchemas {
		t.Run(fmt.Sprintf("%.40s", schema), func(t *testing.T) { validate(t, describe(t, schema)) })
	}
}

func FuzzSchema(f *testing.F) {
	for _, schema := range hostileSchemas {
		f.Add(schema)
	}
	f.Fuzz(func(t *testing.T, schema string) { validate(t, describe(t, schema)) })
}
