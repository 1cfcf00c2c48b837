package project_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/project"
)

func TestParseReadsRoutes(t *testing.T) {
	t.Parallel()
	p := parse(t, `project: shop
routes:
  top:
    http: ["GET /top/{n}", "/best/{n}"]
    service: HackerNews/top
    payload: '{"n":{n}}'
    timeout: 1m30s
    summary: The best stories
    request: {type: object, properties: {n: {type: integer, minimum: 1}}}
    cors: {origins: [https://Shop.example, "http://localhost:3000"], methods: PUT, headers: [X-A], expose: X-B, credentials: true, maxage: 1h}
  create-task: {http: POST /createTask, subject: tasks, payload: 42, cors: "*"}
  orders: {http: "/orders/{id}/{rest...}", subject: "orders.*.>"}
  paid: {http: POST /paid, service: Orders/order.paid}
  pay: {http: POST /pay, function: cashier, cors: https://shop.example}
`)
	list := func(all ...string) []string { return all }
	top := mayfly.Route{
		Name: "top", Service: "HackerNews", Endpoint: "top", Payload: template(t, `{"n":{n}}`), Timeout: mayfly.Duration(90 * time.Second),
		Summary: "The best stories", Project: "shop",
		Request: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}`),
		CORS: &mayfly.CORS{
			Origins: list("https://shop.example", "http://localhost:3000"), Methods: list("PUT"),
			Headers: list("X-A"), Expose: list("X-B"), Credentials: true, MaxAge: mayfly.Duration(time.Hour),
		},
	}
	first, second := top, top
	first.Pattern, second.Pattern = pattern(t, "GET /top/{n}"), pattern(t, "/best/{n}")
	want := []mayfly.Route{
		{
			Name: "create-task", Pattern: pattern(t, "POST /createTask"), Subject: subject(t, "tasks"),
			Payload: template(t, "42"), Project: "shop", CORS: &mayfly.CORS{Origins: list("*")},
		},
		{Name: "orders", Pattern: pattern(t, "/orders/{id}/{rest...}"), Subject: subject(t, "orders.*.>"), Project: "shop"},
		{Name: "paid", Pattern: pattern(t, "POST /paid"), Service: "Orders", Endpoint: "order.paid", Project: "shop"},
		{Name: "pay", Pattern: pattern(t, "POST /pay"), Function: "cashier", Project: "shop", CORS: &mayfly.CORS{Origins: list("https://shop.example")}},
		first, second,
	}
	if diff := cmp.Diff(want, p.Routes, byText[mayfly.SubjectPattern](), byText[mayfly.Template]()); diff != "" {
		t.Error(diff)
	}
	if p.Name != "shop" || filepath.Base(p.File) != "mayfly.yaml" || !filepath.IsAbs(p.Folder) {
		t.Errorf("project %+v", p)
	}
}

// testdata/errors.golden shows a mistake, then what is said of it.
func TestParseNamesEachMistake(t *testing.T) {
	t.Parallel()
	route := func(s string) string { return "routes:\n  a:\n    " + strings.ReplaceAll(s, "\n", "\n    ") + "\n" }
	function := func(s string) string {
		return "functions:\n  a:\n    code: .\n    " + strings.ReplaceAll(s, "\n", "\n    ") + "\n"
	}
	var got strings.Builder
	for _, in := range []string{
		"",
		"- a\n",
		"routes: x\n",
		"project: Shop\n",
		"project: [a]\n",
		"rotues: {}\n",
		"functions:\n  hello: {}\n",
		"functions:\n  hello: ./hello.js\n",
		"functions:\n  hello:\n",
		"functions:\n  Hello: {code: .}\n",
		"functions: [a]\n",
		"services:\n  a.b: {code: .}\n",
		"functions:\n  a: {code: nowhere.js}\n",
		"functions:\n  a: {code: ../up.js}\n",
		"functions:\n  a: {code: /etc/passwd}\n",
		"functions:\n  a: {code: .}\nservices:\n  a: {code: .}\n",
		"functions:\n  a: {code: ., http: /a}\n  b: {code: ., http: [/b, /a]}\n",
		"functions:\n  a: {code: ., http: \"/a/{x}\"}\nroutes:\n  b: {http: \"/{y}/b\", subject: b}\n",
		function("concurency: 8"),
		function("timeout: 30"),
		function("timeout: 0s"),
		function("body: much"),
		function("body: 0"),
		function("concurrency: 0"),
		function("concurrency: few"),
		function("wait: 9999999"),
		function("instances: 4"),
		function("instances: {min: 3, max: 2}"),
		function("instances: {maximum: 2}"),
		function("memory: -1"),
		function("disk: 0"),
		function("disk: 1GiB\nenv: {TMPDIR: /var/tmp}"),
		function("env: {A-B: c}"),
		function("env: {MAYFLY_URL: c}"),
		function("env: {A: [b]}"),
		function("secrets: [API_KEY]"),
		function("secrets: [port]"),
		function("secrets: [a-b]\nenv: {A_B: c}"),
		function("secrets: [a, a]"),
		function("engine: htpp"),
		function("engine: service"),
		function("engine: wasm"),
		function("engine: http\ncgi: true"),
		function("build: \"\""),
		function("start: []"),
		function("jobs: {tries: 5}"),
		function("jobs: {trys: 5}"),
		function("schedules: {nightly: {cron: \"0 3 * * *\"}}"),
		function("schedules: [nightly]"),
		function("triggers: [{subject: a}]"),
		function("triggers: [{subjects: a}]"),
		function("auth: token"),
		"services:\n  a: {code: ., http: /a}\n",
		"services:\n  a: {code: ., engine: http}\n",
		"services:\n  a: {code: ., instances: {max: 2}}\n",
		"services:\n  a: {code: ., schedules: {}}\n",
		route("http: /a\nsubject: b\nauth: token"),
		"gateway:\n  addr: 127.0.0.1:80\n",
		"nats: nats://127.0.0.1\n",
		"routes:\n  Create: {http: /a, subject: b}\n",
		"routes:\n  a:\n",
		route("subject: b"),
		route("http: []\nsubject: b"),
		route("http: /a\nsubjcet: b"),
		route("http: /a"),
		route("http: /a\nsubject: b\nservice: B/c"),
		route("http: a\nsubject: b"),
		route("http: get /a\nsubject: b"),
		route("http: [/a, {b: c}]\nsubject: b"),
		route("http: /fn/a\nsubject: b"),
		route("http: GET /healthz\nsubject: b"),
		route("http: example.org/jobs/{id}\nsubject: b"),
		route("http: /a\nsubject: b c"),
		route("http: /a\nsubject: $JS.API"),
		route("http: /a\nsubject: mayfly.x"),
		route("http: /a\nsubject: b.*"),
		route("http: /a/{x}\nsubject: b.*.*"),
		route("http: /a/{x}/{y}\nsubject: b.*"),
		route("http: /a/{x}\nsubject: b.*.>"),
		route("http: /a/{x}/{y...}\nsubject: b.*"),
		route("http: [/a, GET /a, /a]\nsubject: b"),
		route("http: [\"/a/{x}\", \"/a/{y}\"]\nsubject: b"),
		route("http: [\"/a/{x}\", \"/{y}/b\"]\nsubject: b"),
		route("http: /a\nservice: B"),
		route("http: /a\nservice: B/c/d"),
		route("http: /a\nsubject: b\ntimeout: 5"),
		route("http: /a\nsubject: b\ntimeout: 0s"),
		route("http: /a\nsubject: b\ntimeout: -5s"),
		route("http: /a\nsubject: b\npayload: {a: b}"),
		route("http: /a\nsubject: b\nsummary:"),
		route("http: /a\nsubject: b\nrequest: 5"),
		route("http: /a\nsubject: b\nrequest: missing.json"),
		route("http: /a\nsubject: b\nrequest: ../up.json"),
		route("http: /a\nsubject: b\nrequest: {type: number, maximum: .inf}"),
		route("http: /a\nsubject: b\ncors: shop.example"),
		route("http: /a\nsubject: b\ncors: [https://shop.example/]"),
		route("http: /a\nsubject: b\ncors: {origin: \"*\"}"),
		route("http: /a\nsubject: b\ncors: {methods: GET}"),
		route("http: /a\nsubject: b\ncors: {origins: \"*\", credentials: true}"),
		route("http: /a\nsubject: b\ncors: {origins: \"*\", credentials: perhaps}"),
		route("http: /a\nsubject: b\ncors: {origins: \"*\", methods: get}"),
		route("http: /a\nsubject: b\ncors: {origins: \"*\", headers: [X A]}"),
		route("http: /a\nsubject: b\ncors: {origins: \"*\", maxage: -1s}"),
		route("http: /a\nsubject: ${NOBODY}"),
		route("http: /a\nsubject: a${b"),
		route("http: /a\nsubject: ${A B}"),
		route("http: /a\nsubject: b\nsubject: c"),
		route("http: \"/a\nsubject: b"),
	} {
		_, err := project.Parse("mayfly.yaml", []byte(in), noEnv)
		if err == nil {
			t.Errorf("no error for\n%s", in)
			continue
		}
		if code := mayfly.CodeOf(err); code != mayfly.Invalid {
			t.Errorf("code %v for\n%s", code, in)
		}
		fmt.Fprintf(&got, "%s=> %v\n", in, err)
		if hint := mayfly.HintOf(err); hint != "" {
			fmt.Fprintf(&got, "   hint: %s\n", hint)
		}
		got.WriteByte('\n')
	}
	const golden = "testdata/errors.golden"
	if *project.Update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWildcardsFitThePattern(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		http, subject string
		ok            bool
	}{
		{"/a", "b", true},
		{"/a/{x}", "b", true},
		{"/a/{x}", "b.*", true},
		{"/a/{x}/{y}", "b.*.c.*", true},
		{"/a/{x}", "b.>", true},
		{"/a/{x}/{y}", "b.*.>", true},
		{"/a/{x...}", "b.>", true},
		{"/a/{x...}", "b.*", true},
		{"/a/{x...}", "b.*.*", true},
		{"/a/{x...}", "b.*.>", true},
		{"/a", "b.>", false},
		{"/a/{x}", "b.*.*", false},
		{"/a/{x}/{y}", "b.*", false},
		{"/a/{x}/{y...}", "b.*", false},
		{"/a/{x}", "b.*.>", false},
	} {
		_, err := project.Parse("mayfly.yaml", fmt.Appendf(nil, "routes: {a: {http: %q, subject: %q}}", tt.http, tt.subject), noEnv)
		if (err == nil) != tt.ok {
			t.Errorf("%s for %s: %v", tt.subject, tt.http, err)
		}
	}
}

func TestVariablesFillValues(t *testing.T) {
	t.Parallel()
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "va", "EMPTY": "", "EVIL": "x\nroutes: {}\n${A}"}[name]
		return v, ok
	}
	for _, tt := range []struct{ name, in, want string }{
		{"a value", "${A}", "va"},
		{"text around it", "x${A}y${A}z", "xvayvaz"},
		{"a default not needed", "${A:-d}", "va"},
		{"a default", "${B:-d}", "d"},
		{"a default for an empty one", "${EMPTY:-d}", "d"},
		{"an empty default", "<${B:-}>", "<>"},
		{"an empty value", "<${EMPTY}>", "<>"},
		{"an escape", "$${A}", "${A}"},
		{"an escape before a value", "$${${A}", "${va"},
		{"a dollar alone", "$A {A} $", "$A {A} $"},
		{"a value that looks like YAML", "${EVIL}", "x\nroutes: {}\n${A}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := project.Parse("mayfly.yaml", fmt.Appendf(nil, "routes: {a: {http: /a, subject: b, summary: %q}}", tt.in), env)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Routes[0].Summary; got != tt.want {
				t.Errorf("%q is filled to %q, want %q", tt.in, got, tt.want)
			}
		})
	}
	if _, err := project.Parse("mayfly.yaml", []byte("routes: {a: {http: /a, subject: b, \"${A}\": c}}"), env); err == nil {
		t.Error("a variable was filled in a key")
	}
}

func TestOpenFindsTheManifest(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "My_first Shop")
	write(t, folder, "mayfly.yaml", "routes: {a: {http: /a, subject: \"${A}.${B}\", summary: \"${C}\"}}")
	write(t, folder, ".env", "# what stays here\nA=dot\nexport B = \"two\" # quoted\nC='it # is'\n")
	env := func(name string) (string, bool) { return "shell", name == "A" }
	for _, path := range []string{folder, filepath.Join(folder, "mayfly.yaml")} {
		p, err := project.Open(path, env)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != "my-first-shop" || p.Folder != folder || p.File != filepath.Join(folder, "mayfly.yaml") {
			t.Errorf("project %+v", p)
		}
		if got := p.Routes[0]; got.Subject.String() != "shell.two" || got.Summary != "it # is" || got.Project != "my-first-shop" {
			t.Errorf("route %+v", got)
		}
	}
}

func TestOpenNeedsNoManifest(t *testing.T) {
	t.Parallel()
	const service = "package main\nimport _ \"github.com/nats-io/nats.go/micro\"\nfunc main() {}\n"
	above := t.TempDir()
	write(t, above, "Hello World.js", "")
	write(t, above, "my_shop/index.ts", "")
	write(t, above, "my_shop/.mayflyignore", "/old")
	write(t, above, "worker.go", service)
	write(t, above, "mailer/main.go", service)
	for _, tt := range []struct {
		path, name, folder string
		service            bool
	}{
		{"Hello World.js", "hello-world", "", false},
		{"my_shop", "my-shop", "my_shop", false},
		{"my_shop/index.ts", "my-shop", "my_shop", false},
		{"my_shop/../my_shop/", "my-shop", "my_shop", false},
		{"worker.go", "worker", "", true},
		{"mailer", "mailer", "mailer", true},
		{"mailer/main.go", "mailer", "mailer", true},
	} {
		p, err := project.Open(above+"/"+tt.path, noEnv)
		if err != nil {
			t.Errorf("%s: %v", tt.path, err)
			continue
		}
		code := filepath.Join(above, tt.path)
		if string(p.Name) != tt.name || p.Folder != filepath.Join(above, tt.folder) || p.File != code || len(p.Sources()) != 1 {
			t.Errorf("%s: project %+v", tt.path, p)
			continue
		}
		s := p.Sources()[0]
		if s.Name != tt.name || s.Code != code || len(s.Watch) != 1 || s.Watch[0] != code || (s.Unit.Kind == mayfly.KindService) != tt.service {
			t.Errorf("%s: source %+v", tt.path, s)
		}
	}
	p, err := project.Open(above+"/my_shop", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"old": true, "old/a": true, "new": false, ".env": true, ".mayflyignore": false} {
		if p.Functions[0].Ignores(name, false) != want {
			t.Errorf("%s is ignored: %v", name, !want)
		}
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, folder, "hello.js", "")
	write(t, folder, "odd/mayfly.yaml/x", "")
	write(t, folder, "dot/mayfly.yaml", "project: a")
	write(t, folder, "dot/.env", "A=1\nB\n")
	write(t, folder, "quote/mayfly.yaml", "project: a")
	write(t, folder, "quote/.env", "A=\"1\n")
	write(t, folder, "...", "")
	write(t, folder, "größe/mayfly.yaml", "routes: {}")
	for _, tt := range []struct {
		name, path, want string
		code             mayfly.Code
	}{
		{"no path", "nowhere", "no file or folder FOLDER/nowhere", mayfly.NotFound},
		{"nothing to run", "", "nothing to run in FOLDER: looked for mayfly.yaml, package.json with main, index.js (.ts, .mjs, ...), index.py, index.sh, app.py, main.py, handler.js (.ts, .py, ...), a Go package, index.html", mayfly.NotFound},
		{"a folder as manifest", "odd", "read FOLDER/odd/mayfly.yaml: not a regular file", mayfly.Invalid},
		{"a file as folder", "hello.js/x", "open project: stat FOLDER/hello.js/x: not a directory", mayfly.Invalid},
		{"a bad line in .env", "dot", "FOLDER/dot/.env:2:1: not of the form NAME=value", mayfly.Invalid},
		{"a bad quote in .env", "quote", "FOLDER/quote/.env:1:1: A has an unclosed quote, or text after the closing one", mayfly.Invalid},
		{"a folder that is no name", "größe", "cannot name the project after folder \"größe\": name \"größe\" has \"ö\" at byte 3: use a-z, 0-9 and - (not first)", mayfly.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := project.Open(folder+"/"+tt.path, noEnv)
			if want := strings.ReplaceAll(tt.want, "FOLDER", folder); err == nil || err.Error() != want {
				t.Fatalf("error %v\nwant  %s", err, want)
			}
			if mayfly.CodeOf(err) != tt.code {
				t.Errorf("code %v, want %v", mayfly.CodeOf(err), tt.code)
			}
		})
	}
}

func TestSchemaFiles(t *testing.T) {
	t.Parallel()
	above := t.TempDir()
	folder := filepath.Join(above, "shop")
	write(t, above, "secret.json", `{"secret":true}`)
	write(t, folder, "schemas/order.json", "{\n\t\"type\": \"object\"\n}")
	write(t, folder, "order.yaml", "type: object\n")
	write(t, folder, "list.json", "[]")
	write(t, folder, "list.yaml", "[]")
	write(t, folder, "bad.yaml", "a: [")
	if err := os.Symlink("../secret.json", filepath.Join(folder, "link.json")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, file, want, err string }{
		{"JSON", "./schemas/order.json", `{"type":"object"}`, ""},
		{"YAML", "order.yaml", `{"type":"object"}`, ""},
		{"JSON that is no object", "list.json", "", "list.json is not a JSON Schema: it must be a JSON object"},
		{"YAML that is no map", "list.yaml", "", "list.yaml is not a JSON Schema: it must be a map"},
		{"YAML with a mistake", "bad.yaml", "", "bad.yaml:1:4: sequence end token ']' not found"},
		{"a folder", "schemas", "", "read schemas: not a regular file"},
		{"above", "../secret.json", "", `file "../secret.json" is not below the manifest's folder`},
		{"anywhere", above + "/secret.json", "", fmt.Sprintf("file %q is not below the manifest's folder", above+"/secret.json")},
		{"a link that leads out", "link.json", "", "read link.json: statat link.json: path escapes from parent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(folder, "mayfly.yaml")
			p, err := project.Parse(file, fmt.Appendf(nil, "routes: {a: {http: /a, subject: b, response: %q}}", tt.file), noEnv)
			if tt.err != "" {
				if want := file + ":1:46: " + tt.err; err == nil || err.Error() != want {
					t.Fatalf("error %v\nwant  %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(string(p.Routes[0].Response)), ""); got != tt.want {
				t.Errorf("schema %s, want %s", got, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"project: shop\nroutes:\n  a: {http: [GET /a/{x}, /b], subject: c, payload: \"{x}\", timeout: 5s, cors: \"*\"}\n",
		"routes:\n  a:\n    http: /a/{x...}\n    subject: b.>\n    request: {type: object}\n    summary: ${A:-b} ${HOME} $${c}\n",
		"routes: {a: {http: /x, service: A/b, cors: {origins: [https://a.example], credentials: true}}}",
		"functions: {a: {code: ., http: [/a, POST /b], instances: {min: 1, max: 2, idle: 1s}, body: 2GiB, wait: 0, env: {A: \"${B:-c}\"}, secrets: [a-b], start: [a, b]}}",
		"functions: {a: {code: ., jobs: {tries: 5}}}", "services: {A_b: {code: ., instances: 2, memory: 1GB, labels: {a: b}, build: make}}",
		"gateway: {addr: x}", "functions: {}", "routes: {a: {http: /a, subject: b, request: x.json}}",
	} {
		f.Add(seed)
	}
	file := filepath.Join(f.TempDir(), "shop", "mayfly.yaml")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil { // it is the code of functions
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := project.Parse(file, []byte(text), func(name string) (string, bool) { return "v", name != "NOBODY" })
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Invalid || !strings.HasPrefix(err.Error(), file+":") {
				t.Fatalf("code %v, error %q", mayfly.CodeOf(err), err)
			}
			return
		}
		mux := http.NewServeMux()
		for _, s := range p.Sources() {
			if string(s.Unit.Name) != s.Name || !filepath.IsAbs(s.Code) {
				t.Fatalf("source %+v", s)
			}
			for _, pattern := range s.Unit.HTTP {
				mux.Handle(pattern.String(), http.NotFoundHandler())
			}
			if l := s.Unit.Limits; l.Timeout < 0 || l.Body < 0 || l.Concurrency < 0 || l.Instances.Max > 0 && l.Instances.Max < l.Instances.Min {
				t.Fatalf("limits %+v", l)
			}
		}
		for _, r := range p.Routes {
			mux.Handle(r.Pattern.String(), http.NotFoundHandler()) // panics if two clash
			if r.Pattern.Reserved() || r.Timeout < 0 || (r.Service == "") == (r.Subject.String() == "") {
				t.Fatalf("route %+v", r)
			}
			for _, schema := range []json.RawMessage{r.Request, r.Response} {
				if schema != nil && !json.Valid(schema) {
					t.Fatalf("schema %s", schema)
				}
			}
		}
	})
}

func noEnv(string) (string, bool) { return "", false }

func parse(t *testing.T, text string) *project.Project {
	t.Helper()
	p, err := project.Parse("mayfly.yaml", []byte(text), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, folder, name, text string) {
	t.Helper()
	path := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// byText compares values of a parsed type, whose fields are hidden.
func byText[T fmt.Stringer]() cmp.Option {
	return cmp.Comparer(func(a, b T) bool { return a.String() == b.String() })
}

func pattern(t *testing.T, s string) mayfly.Pattern {
	t.Helper()
	p, err := mayfly.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func subject(t *testing.T, s string) mayfly.SubjectPattern {
	t.Helper()
	p, err := mayfly.ParseSubjectPattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func template(t *testing.T, s string) mayfly.Template {
	t.Helper()
	p, err := mayfly.ParseTemplate(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
