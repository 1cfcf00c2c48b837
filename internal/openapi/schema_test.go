package openapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/openapi"
)

func TestSchema(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, given, want string }{ // want is empty for an error
		{"any", `true`, `{}`},
		{"none", `false`, `{"not":{}}`},
		{"unknown keywords", `{"$id":"x","$schema":"y","x-mine":1,"type":"string"}`, `{"type":"string"}`},
		{"names are not keywords", `{"properties":{"$id":{"const":{"$ref":"#/x"}}}}`, `{"properties":{"$id":{"const":{"$ref":"#/x"}}}}`},
		{"long integers", `{"const":12345678901234567890123}`, `{"const":12345678901234567890123}`},
		{"a reference", `{"items":{"$ref":"#/$defs/a"},"$defs":{"a":{}}}`, `{"items":{"$ref":"#/at/$defs/a"},"$defs":{"a":{}}}`},
		{"a reference with neighbors", `{"$ref":"#/$defs/a","title":"t","$defs":{"a":{}}}`, `{"allOf":[{"$ref":"#/at/$defs/a"}],"title":"t","$defs":{"a":{}}}`},
		{"recursion", `{"properties":{"next":{"$ref":"#"}}}`, `{"properties":{"next":{"$ref":"#/at"}}}`},
		{"a reference to elsewhere", `{"items":{"$ref":"https://evil.test/"},"type":"array"}`, `{"items":{},"type":"array"}`},
		{"a reference to nothing", `{"items":{"$ref":"#/$defs/none"}}`, `{"items":{}}`},
		{"references in a circle", `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#"}}}`, `{"$defs":{"a":{}}}`},
		{"draft 4", `{"definitions":{"a":{}},"$ref":"#/definitions/a","exclusiveMinimum":true}`, `{"$defs":{"a":{}},"allOf":[{"$ref":"#/at/$defs/a"}]}`},
		{"draft 7", `{"items":[{"type":"string"},false]}`, `{"prefixItems":[{"type":"string"},{"not":{}}]}`},
		{"look-ahead", `{"pattern":"(?=a)","patternProperties":{"(?!b)":{},"c":{}}}`, `{"patternProperties":{"c":{}}}`},
		{"a count that is not one", `{"minLength":1e2,"maxLength":2}`, `{"maxLength":2}`},
		{"a wrong type", `{"properties":{"a":{"type":"strange"}}}`, ``},
		{"a wrong form", `{"properties":[]}`, ``},
		{"not a schema", `[]`, ``},
		{"not JSON", `{`, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := openapi.Schema(json.RawMessage(tt.given), "#/at")
			if tt.want == "" {
				if mayfly.CodeOf(err) != mayfly.Invalid {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text, _ := json.Marshal(got)
			if diff := cmp.Diff(parse(t, tt.want), parse(t, string(text))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func parse(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Each of these is a way to keep the compiler, or a reader of the document, busy.
func TestSchemaIsBounded(t *testing.T) {
	t.Parallel()
	many := func(n int, each string) string {
		return strings.TrimSuffix(strings.Repeat(each+",", n), ",")
	}
	for name, schema := range map[string]string{
		"large":                 `{"title":"` + strings.Repeat("t", 1<<20) + `"}`,
		"deep":                  strings.Repeat(`{"items":`, 2000) + `{}` + strings.Repeat(`}`, 2000),
		"deep data":             `{"default":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
		"many subschemas":       `{"allOf":[` + many(50_000, "{}") + `]}`,
		"many that are allowed": `{"anyOf":[` + many(1900, `{"type":"string"}`) + `]}`,
		"huge numbers":          `{"enum":[` + many(20_000, "1e900000") + `]}`,
		"tiny numbers":          `{"multipleOf":1e-900000}`,
		"costly patterns":       `{"allOf":[` + many(1900, `{"pattern":"((((a{10}){10}){9}b{999}c{999}d{999})|e)*"}`) + `]}`,
		"references in a chain": `{"$defs":{` + many(1, chain(1900)) + `}}`,
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			_, err := openapi.Schema(json.RawMessage(schema), "#")
			if took := time.Since(begun); took > 10*time.Second { // a tenth of a second on an idle machine
				t.Errorf("took %s (%.100v)", took, err)
			}
		})
	}
}

func chain(n int) string {
	links := make([]string, n)
	for i := range n {
		links[i] = fmt.Sprintf(`"d%d":{"$ref":"#/$defs/d%d"}`, i, i+1)
	}
	return strings.Join(links, ",") + fmt.Sprintf(`,"d%d":{}`, n)
}

func TestSchemaLoadsNothing(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a schema was fetched") }))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(file, []byte(`{"type":"strange"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, elsewhere := range []string{server.URL + "/schema.json", "file://" + file, file, "https://json-schema.org/draft/2020-12/schema"} {
		for _, schema := range []string{
			`{"$ref":%q}`, `{"$schema":%q}`, `{"$dynamicRef":%q}`, `{"$recursiveRef":%q}`, `{"$id":%q}`, `{"$id":%q,"$ref":"#/x"}`,
			`{"items":{"$id":%q,"items":{"$ref":"#/x"}}}`, `{"contentSchema":{"$ref":%q}}`,
		} {
			got, err := openapi.Schema(json.RawMessage(fmt.Sprintf(schema, elsewhere)), "#")
			if err != nil {
				t.Errorf("%s: %v", schema, err)
			}
			if text, _ := json.Marshal(got); strings.Contains(string(text), elsewhere) {
				t.Errorf("%s refers to elsewhere: %s", schema, text)
			}
		}
	}
}

func TestWriterCompilesASchemaOnce(t *testing.T) {
	t.Parallel()
	c := openapi.Contents{Services: []mayfly.Service{{Name: "S", ID: "1", Endpoints: []mayfly.Endpoint{
		{Name: "good", Subject: "a", Metadata: map[string]string{mayfly.MetaRequest: `{"type":"string"}`}},
		{Name: "bad", Subject: "b", Metadata: map[string]string{mayfly.MetaRequest: `{"type":"strange"}`}},
	}}}}
	var w openapi.Writer
	keep := func() map[string]map[string]any {
		if _, err := w.Write(c); err != nil {
			t.Fatal(err)
		}
		return w.Schemas()
	}
	first, again := keep(), keep()
	if len(first) != 2 || first[`{"type":"string"}`] == nil || first[`{"type":"strange"}`] != nil {
		t.Fatalf("kept %v", first)
	}
	for raw, schema := range again {
		if reflect.ValueOf(schema).Pointer() != reflect.ValueOf(first[raw]).Pointer() {
			t.Errorf("%s was compiled again", raw)
		}
	}
	c.Services = nil
	if kept := keep(); len(kept) != 0 {
		t.Errorf("%v is kept for no document", kept)
	}
}

func BenchmarkSchema(b *testing.B) {
	raw := json.RawMessage(`{"type":"object","required":["item","count"],"properties":{"item":{"$ref":"#/$defs/item"},"count":{"type":"integer","minimum":1}},"$defs":{"item":{"type":"string","minLength":1,"pattern":"^[a-z]+$"}}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openapi.Schema(raw, "#"); err != nil {
			b.Fatal(err)
		}
	}
}
