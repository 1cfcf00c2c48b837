package project_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/project"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

func TestParseReadsFunctionsAndServices(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, folder, "hello.js", "")
	write(t, folder, "worker/main.go", "")
	text := `project: shop
functions:
  hello:
    code: ./hello.js
    engine: http
    http: ["GET /hello/{name}", /hi]
    cors: https://shop.example
    timeout: 5s
    idle_timeout: 2m
    body: 2GiB
    concurrency: 8
    wait: 0
    instances: {min: 1, max: 8, idle: 1m30s, start: 20s}
    memory: 256MiB
    disk: 1GiB
    env: {GREETING: hi, N: 007, STAGE: "${STAGE:-dev}"}
    secrets: [api-key, db]
    creds: nats
    labels: {zone: eu}
    summary: Says hello
    metadata: {team: a}
    build: make
    start: [node, server.js, --port, 1]
  bye: {code: hello.js, concurrency: "${STAGE:-3}", http: POST /bye, start: "exec node bye.js"}
services:
  HackerNews: {code: ./worker, instances: 2, env: {A: b}}
  One_2: {code: .}
`
	p, err := project.Parse(filepath.Join(folder, "mayfly.yaml"), []byte(text), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	type source struct {
		Name, Code, Build string
		Start             []string
		Engine            mayfly.Engine
		Unit              *mayfly.Unit
	}
	var got []source
	for _, s := range p.Sources() {
		got = append(got, source{s.Name, s.Code, s.Build, s.Start, s.Engine, s.Unit})
		if len(s.Watch) != 1 || s.Watch[0] != s.Code {
			t.Errorf("%s watches %q", s.Name, s.Watch)
		}
	}
	want := []source{
		{Name: "bye", Code: folder + "/hello.js", Start: []string{"sh", "-c", "exec node bye.js"}, Unit: &mayfly.Unit{
			Name: "bye", Project: "shop", HTTP: []mayfly.Pattern{pattern(t, "POST /bye")}, Limits: mayfly.Limits{Concurrency: 3},
		}},
		{Name: "hello", Code: folder + "/hello.js", Engine: mayfly.EngineHTTP, Build: "make", Start: []string{"node", "server.js", "--port", "1"}, Unit: &mayfly.Unit{
			Name: "hello", Project: "shop", Summary: "Says hello", CORS: &mayfly.CORS{Origins: []string{"https://shop.example"}}, HTTP: []mayfly.Pattern{pattern(t, "GET /hello/{name}"), pattern(t, "/hi")},
			Metadata: map[string]string{"team": "a"},
			Program: mayfly.Program{
				Env: map[string]string{"GREETING": "hi", "N": "007", "STAGE": "dev"}, Secrets: []string{"api-key", "db"}, Creds: "nats",
				Memory: 256 << 20, Disk: 1 << 30, Labels: map[string]string{"zone": "eu"},
			},
			Limits: mayfly.Limits{
				Timeout: mayfly.Duration(5 * time.Second), IdleTimeout: mayfly.Duration(2 * time.Minute), Body: 2 << 30, Concurrency: 8, Wait: -1,
				Instances: mayfly.Instances{Min: 1, Max: 8, Idle: mayfly.Duration(90 * time.Second), Start: mayfly.Duration(20 * time.Second)},
			},
		}},
		{Name: "HackerNews", Code: folder + "/worker", Engine: mayfly.EngineService, Unit: &mayfly.Unit{
			Kind: mayfly.KindService, Name: "HackerNews", Project: "shop", Limits: mayfly.Limits{Instances: mayfly.Exactly(2)}, Program: mayfly.Program{Env: map[string]string{"A": "b"}},
		}},
		{Name: "One_2", Code: folder, Engine: mayfly.EngineService, Unit: &mayfly.Unit{
			Kind: mayfly.KindService, Name: "One_2", Project: "shop", Limits: mayfly.Limits{Instances: mayfly.Exactly(1)},
		}},
	}
	// STAGE is not set, so its default is taken: "dev" would be no number.
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What the schema says of a manifest is what Parse says, but where only a look at
// the whole or at the disk can tell.
func TestSchemaAgreesWithParse(t *testing.T) {
	t.Parallel()
	schema := compileSchema(t)
	folder := t.TempDir()
	write(t, folder, "a.js", "")
	function := func(s string) string {
		return "functions:\n  a:\n    code: a.js\n    " + strings.ReplaceAll(s, "\n", "\n    ")
	}
	service := func(s string) string {
		return "services:\n  a:\n    code: a.js\n    " + strings.ReplaceAll(s, "\n", "\n    ")
	}
	route := func(s string) string { return "routes:\n  a:\n    " + strings.ReplaceAll(s, "\n", "\n    ") }
	const ok, bad, parser = "both accept", "both refuse", "only Parse can tell"
	for _, tt := range []struct{ in, want string }{
		{"", bad},
		{"[a]", bad},
		{"project: a", ok},
		{"project: 5", ok},
		{"project: A", bad},
		{"project: [a]", bad},
		{"project: ${A:-b}", ok},
		{"functions: {}", ok},
		{"functions:", bad},
		{"functions: {a: {}}", bad},
		{"functions: {a: }", bad},
		{"functions: {A: {code: a.js}}", bad},
		{"functions: {a: {code: a.js}}\nservices: {a: {code: a.js}}", parser},
		{"services: {A_b: {code: a.js}}", ok},
		{"services: {a.b: {code: a.js}}", bad},
		{"jobs: {}", bad},
		{"gateway: {addr: x}", bad},
		{function("code: b"), bad}, // twice
		{"functions: {a: {code: /etc}}", bad},
		{"functions: {a: {code: ../a}}", bad},
		{"functions: {a: {code: b/../../a}}", parser},
		{"functions: {a: {code: b}}", parser},
		{"functions: {a: {code: .}}", ok},
		{"functions: {a: {code: ./}}", ok},
		{"functions: {a: {code: \"\"}}", bad},
		{function("engine: http"), ok},
		{function("engine: exec"), ok},
		{function("engine: static"), ok},
		{function("fallback: index.html"), ok},
		{function("fallback: ../index.html"), parser},
		{function("engine: service"), bad},
		{function("engine: wasm"), bad},
		{function("engine: container"), bad},
		{function("engine: ${E:-exec}"), ok},
		{function("build: make"), ok},
		{function("build: [make]"), bad},
		{function("build: \" \""), bad},
		{function("start: node a.js"), ok},
		{function("start: [node, a.js, 1]"), ok},
		{function("start: []"), bad},
		{function("start: [\"\"]"), bad},
		{function("start: {a: b}"), bad},
		{function("http: /a"), ok},
		{function("http: []"), ok},
		{function("http: [\"GET /a/{x}\", example.org/b]"), ok},
		{function("http: a"), bad},
		{function("http: get /a"), bad},
		{function("http: /fn/a"), parser},
		{function("http: [/a, /a]"), parser},
		{function("http: /a") + "\n" + route("http: /a\nsubject: b"), parser},
		{function("timeout: 1m30.5s"), ok},
		{function("timeout: 5"), bad},
		{function("timeout: 0s"), bad},
		{function("timeout: -1s"), bad},
		{function("timeout: ${T:-5s}"), ok},
		{function("timeout: ${T:-five}"), parser},
		{function("idle_timeout: 1h"), ok},
		{function("body: 64MiB"), ok},
		{function("body: 1000"), ok},
		{function("body: 2 gb"), ok},
		{function("body: 0"), bad},
		{function("body: 0MiB"), bad},
		{function("body: -1"), bad},
		{function("body: 1.5MiB"), bad},
		{function("body: lots"), bad},
		{function("concurrency: 16"), ok},
		{function("concurrency: 0x10"), ok},
		{function("concurrency: 1e3"), bad},
		{function("concurrency: \"16\""), ok},
		{function("concurrency: 0"), bad},
		{function("concurrency: 1.5"), bad},
		{function("concurrency: 100000"), bad},
		{function("concurrency: many"), bad},
		{function("concurrency: true"), bad},
		{function("wait: 0"), ok},
		{function("wait: -1"), bad},
		{function("instances: {min: 0, max: 4, idle: 5m, start: 10s}"), ok},
		{function("instances: {min: 5, max: 4}"), parser},
		{function("instances: {max: 0}"), bad},
		{function("instances: {most: 4}"), bad},
		{function("instances: 4"), bad},
		{function("memory: 256MiB"), ok},
		{function("disk: 1GiB"), ok},
		{function("env: {A: b, C: 1, D: true}"), ok},
		{function("env: {}"), ok},
		{function("env: [A=b]"), bad},
		{function("env: {A: }"), bad},
		{function("env: {A-B: c}"), bad},
		{function("env: {PORT: 80}"), bad},
		{function("env: {MAYFLY_X: a}"), bad},
		{function("env: {PORTAL: a}"), ok},
		{function("secrets: [api-key]"), ok},
		{function("secrets: api-key"), ok},
		{function("secrets: [Api]"), bad},
		{function("secrets: [5a]"), bad},
		{function("secrets: [a, a]"), bad},
		{function("secrets: [port]"), parser},
		{function("secrets: [a]\nenv: {A: b}"), parser},
		{function("creds: nats"), ok},
		{function("creds: NATS"), bad},
		{function("labels: {zone: eu}"), ok},
		{function("cgi: true"), ok},
		{function("cgi: perhaps"), bad},
		{function("cgi: true\nengine: http"), parser},
		{function("summary: a"), ok},
		{function("metadata: {a: b}"), ok},
		{function("metadata: a"), bad},
		{function("jobs: {tries: 5}"), bad},
		{function("schedules: {a: {cron: \"0 3 * * *\"}}"), bad},
		{function("triggers: [{subject: a}]"), bad},
		{function("auth: token"), bad},
		{service("instances: 2"), ok},
		{service("instances: 0"), bad},
		{service("instances: {min: 1}"), bad},
		{service("http: /a"), bad},
		{service("engine: service"), bad},
		{service("env: {A: b}\nsecrets: [c]\ncreds: d\nmemory: 1GB\nlabels: {a: b}\nbuild: make\nstart: ./a"), ok},
		{route("http: /a\nsubject: b"), ok},
		{route("http: [/a, GET /b]\nservice: B/c\npayload: 42\ntimeout: 5s\nsummary: x\nrequest: {type: object}\ncors: \"*\""), ok},
		{route("http: []\nsubject: b"), bad},
		{route("subject: b"), bad},
		{route("http: /a"), bad},
		{route("http: /a\nsubject: b\nservice: B/c"), bad},
		{route("http: /a\nservice: B"), bad},
		{route("http: /a\nsubject: b c"), bad},
		{route("http: /a\nsubject: b.*"), parser},
		{route("http: /a\nsubject: b\nauth: token"), bad},
		{route("http: /a\nsubject: b\ntimeout: 0s"), bad},
		{route("http: /a\nsubject: b\nrequest: 5"), bad},
		{route("http: /a\nsubject: b\nrequest: nobody.json"), parser},
		{route("http: /a\nsubject: b\ncors: {origins: [https://shop.example], methods: PUT, headers: [X-A], expose: X-B, credentials: true, maxage: 1h}"), ok},
		{route("http: /a\nsubject: b\ncors: {methods: GET}"), bad},
		{route("http: /a\nsubject: b\ncors: shop.example"), bad},
		{route("http: /a\nsubject: b\ncors: {origins: \"*\", maxage: 0}"), ok},
		{route("http: /a\nsubject: b\ncors: {origins: \"*\", headers: [X A]}"), bad},
		{route("http: /a\nsubject: b\ncors: {origins: \"*\", credentials: true}"), parser},
	} {
		_, parseErr := project.Parse(filepath.Join(folder, "mayfly.yaml"), []byte(tt.in), noEnv)
		schemaErr := validate(schema, tt.in)
		got := map[[2]bool]string{{true, true}: ok, {false, false}: bad, {false, true}: parser, {true, false}: "only the schema refuses"}[[2]bool{parseErr == nil, schemaErr == nil}]
		if got != tt.want {
			t.Errorf("%s\n%s, want: %s\nParse:  %v\nschema: %v", tt.in, got, tt.want, parseErr, schemaErr)
		}
	}
}

// Every example of the manual is a manifest, to the schema and to Parse.
func TestManualsExamplesAreProjects(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	schema := compileSchema(t)
	folder := t.TempDir()
	for name, text := range map[string]string{
		"schemas/order.json": `{"type":"object"}`, "hello.js": "", "report/index.sh": "", "worker/main.go": "", "site/package.json": "{}",
	} {
		write(t, folder, name, text)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(manual, -1)
	if len(examples) < 2 {
		t.Fatalf("docs/manifest.md has %d examples", len(examples))
	}
	for i, example := range examples {
		if err := validate(schema, string(example[1])); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
		p, err := project.Parse(filepath.Join(folder, "mayfly.yaml"), example[1], noEnv)
		if err != nil {
			t.Errorf("example %d: %v", i+1, err)
			continue
		}
		if i == 0 && (p.Name != "shop" || len(p.Routes) != 5 || len(p.Functions) != 2 || len(p.Services) != 1) {
			t.Errorf("project %q with %d routes, %d functions, %d services", p.Name, len(p.Routes), len(p.Functions), len(p.Services))
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(project.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("manifest.json", text); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate asks the schema, as an editor does that reads YAML.
func validate(schema *jsonschema.Schema, text string) error {
	root, err := yamlfile.Parse("mayfly.yaml", []byte(text))
	if err != nil {
		return err
	}
	data, err := root.JSON()
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	return schema.Validate(value)
}

func TestParseRefusesWhatNoProcessCanBeGiven(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, folder, "a.js", "")
	for _, keys := range []string{`env: {A: "x\0y"}`, `build: "x\0y"`, `start: "x\0y"`, `start: [node, "x\0y"]`} {
		_, err := project.Parse(filepath.Join(folder, "mayfly.yaml"), []byte("functions:\n  a: {code: a.js, "+keys+"}\n"), noEnv)
		if mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "mayfly.yaml:2:") || !strings.Contains(err.Error(), "NUL character") {
			t.Errorf("%s: error %v", keys, err)
		}
	}
}
