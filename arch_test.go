package mayfly_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The floor plan as data, and the rules for every file. ARCHITECTURE.md draws the same
// plan. A new package or module is entered here first, which decides where it belongs.

const module = "github.com/mayfly-run/mayfly"

// floors gives each package its height. A package imports only lower ones, never a
// neighbor.
var floors = map[string]int{
	module:                       0,
	module + "/internal/nearest": 1,
	module + "/internal/news":    1,
	module + "/internal/scope":   1,
	module + "/internal/frame":   1,
	module + "/internal/head":    1,

	module + "/internal/telemetry": 2,
	module + "/internal/yamlfile":  2,
	module + "/internal/door":      2,
	module + "/internal/front":     2,
	module + "/internal/process":   2,
	module + "/internal/bundle":    2,
	module + "/internal/link":      2,
	module + "/internal/instance":  2,
	module + "/internal/watch":     2,

	module + "/internal/config": 3,
	module + "/internal/shim":   3,
	module + "/fn":              3,

	module + "/internal/bus": 4,

	module + "/internal/dispatch":  5,
	module + "/internal/micro":     5,
	module + "/internal/openapi":   5,
	module + "/internal/project":   5,
	module + "/internal/registry":  5,
	module + "/internal/inventory": 5,
	module + "/internal/secrets":   5,
	module + "/internal/logs":      5,
	module + "/internal/peers":     5,
	module + "/internal/runner":    5,

	module + "/internal/gateway":        6,
	module + "/internal/console":        6,
	module + "/internal/responder":      6,
	module + "/internal/roster":         6,
	module + "/internal/session":        6,
	module + "/internal/deploy":         6,
	module + "/internal/runner/http":    6,
	module + "/internal/runner/exec":    6,
	module + "/internal/runner/service": 6,
	module + "/internal/runner/static":  6,

	module + "/internal/node": 7,

	module + "/internal/cli": 8,
	natstest:                 8,
	conformance:              8,
	frametest:                8,
	image:                    8,

	module + "/cmd/mayfly": 9,
}

// Packages for tests only, of every package.
const (
	natstest    = module + "/internal/natstest"
	conformance = module + "/internal/runner/conformance"
	frametest   = module + "/internal/frametest"
	image       = module + "/internal/image"
)

func forTests(pkg string) bool {
	return pkg == natstest || pkg == conformance || pkg == frametest || pkg == image
}

// guests are programs like a user's, and the benchmark: they know only our public
// interfaces.
var guests = []string{
	module + "/bench",
	module + "/examples/createtask/worker",
	module + "/examples/first-week/servemux",
	module + "/examples/hackernews",
	module + "/examples/hello-go",
	module + "/examples/upload",
	module + "/examples/web-go",
}

// owners says which packages may import a third-party module.
var owners = map[string][]string{
	"github.com/nats-io/nats-server/v2":          {"internal/bus", "bench"},
	"github.com/nats-io/nats.go":                 {"internal/bus", "internal/registry", "internal/secrets", "internal/logs", "internal/inventory", "internal/natstest", "bench", "examples/createtask/worker", "examples/hackernews"},
	"github.com/synadia-io/orbit.go/natscontext": {"internal/bus"},
	"golang.org/x/sys":                           {"internal/bus", "internal/node", "internal/process"},
	"github.com/klauspost/compress":              {"internal/bundle"},
	"github.com/evanw/esbuild":                   {"internal/shim"},
	"github.com/bmatcuk/doublestar/v4":           {"internal/project"},
	"github.com/fsnotify/fsnotify":               {"internal/watch"},
	"filippo.io/age":                             {"internal/secrets"},
	"github.com/goccy/go-yaml":                   {"internal/yamlfile"},
	"github.com/prometheus/client_golang":        {"internal/telemetry"},
	"github.com/alecthomas/kong":                 {"internal/cli"},
	"github.com/santhosh-tekuri/jsonschema/v6":   {"internal/openapi"},
	"golang.org/x/mod":                           {"internal/bus", "internal/micro"},
	"golang.org/x/sync":                          {"internal/deploy"},
	"golang.org/x/term":                          {"internal/cli"},
}

// testOwners may also import a module in their tests; an empty list allows every package.
var testOwners = map[string][]string{
	"github.com/google/go-cmp":                 {},
	"go.uber.org/goleak":                       {},
	"pgregory.net/rapid":                       {},
	"github.com/nats-io/nats.go":               {},
	"github.com/nats-io/nats-server/v2":        {"internal/bus", "internal/node", "cmd/mayfly", "examples/createtask/worker", "examples/hackernews"},
	"github.com/nats-io/jwt/v2":                {"internal/bus"},
	"github.com/nats-io/nkeys":                 {"internal/bus"},
	"github.com/getkin/kin-openapi":            {"internal/openapi", "internal/node"},
	"github.com/santhosh-tekuri/jsonschema/v6": {"internal/bus", "internal/image", "internal/project", "internal/responder"},
	"github.com/nats-io/jsm.go":                {"internal/responder", "internal/registry"},
	"github.com/prometheus/client_model":       {"internal/telemetry", "internal/node"},
	"github.com/prometheus/common":             {"internal/telemetry", "internal/node"},
	"github.com/rogpeppe/go-internal":          {"cmd/mayfly"},
}

func TestEveryPackageHasItsFloor(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		there[f.pkg] = true
		if _, ok := floors[f.pkg]; !ok && !slices.Contains(guests, f.pkg) {
			t.Errorf("%s: package %s stands on no floor of arch_test.go", f.path, f.pkg)
		}
	}
	for _, pkg := range slices.Concat(slices.Collect(maps.Keys(floors)), guests) {
		if !there[pkg] {
			t.Errorf("arch_test.go lists %s, which is gone", pkg)
		}
	}
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		for _, imported := range f.imports() {
			to, ours := floors[imported]
			switch {
			case !ours || f.test && (forTests(imported) || imported == f.pkg):
			case slices.Contains(guests, f.pkg):
				t.Errorf("%s imports %s: a guest knows nothing of ours", f.path, imported)
			case forTests(imported):
				t.Errorf("%s imports %s, which is for tests", f.path, imported)
			case to >= floors[f.pkg]:
				t.Errorf("%s imports %s: from floor %d to floor %d", f.path, imported, floors[f.pkg], to)
			}
		}
	}
}

// strangers says which lower packages an importer must not import.
var strangers = map[string][]string{
	module + "/internal/cli": {module + "/internal/runner"}, // nodes report what runs: see peers
}

func TestImportsKeepTheirDistance(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		for _, imported := range f.imports() {
			for _, stranger := range strangers[f.pkg] {
				if imported == stranger || strings.HasPrefix(imported, stranger+"/") {
					t.Errorf("%s imports %s", f.path, imported)
				}
			}
		}
	}
}

// Doors let the outside in. Another package that needs part of one should import what
// the door itself builds on.
func TestOnlyNodeImportsDoors(t *testing.T) {
	t.Parallel()
	doors := []string{module + "/internal/gateway", module + "/internal/responder", module + "/internal/console"}
	for _, f := range goFiles(t) {
		for _, imported := range f.imports() {
			if slices.Contains(doors, imported) && f.pkg != module+"/internal/node" && !(f.test && f.pkg == imported) {
				t.Errorf("%s imports %s: only node opens doors", f.path, imported)
			}
		}
	}
}

func TestForeignModulesHaveOwners(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		for _, imported := range f.imports() {
			if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") || strings.HasPrefix(imported+"/", module+"/") {
				continue // the standard library's, or ours
			}
			own := strings.TrimPrefix(strings.TrimPrefix(f.pkg, module), "/")
			if slices.Contains(owners[moduleOf(imported, owners)], own) {
				continue
			}
			if tests, ok := testOwners[moduleOf(imported, testOwners)]; f.test && ok && (len(tests) == 0 || slices.Contains(tests, own)) {
				continue
			}
			t.Errorf("%s imports %s, which is not its own", f.path, imported)
		}
	}
}

// moduleOf returns the listed module that holds a package.
func moduleOf(pkg string, list map[string][]string) string {
	for m := range list {
		if pkg == m || strings.HasPrefix(pkg, m+"/") {
			return m
		}
	}
	return ""
}

// Whatever else knows an engine by name would have to learn of the next one.
func TestOnlyTablesNameEngines(t *testing.T) {
	t.Parallel()
	tables := []string{"internal/node/engine.go", "internal/project/engine.go"}
	var named []string
	for _, f := range goFiles(t) {
		own := strings.HasPrefix(f.pkg, module+"/internal/runner/")
		ast.Inspect(f.tree, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(selector(s), "mayfly.Engine") && s.Sel.Name != "Engine" && !f.test && !own {
				named = append(named, f.path)
			}
			for _, compared := range operands(n) {
				if id, ok := compared.(*ast.Ident); ok && strings.HasPrefix(id.Name, "engine") && ast.IsExported(strings.TrimPrefix(id.Name, "engine")) {
					t.Errorf("%s compares with %s: ask for a trait of the engine", f.path, id.Name)
				}
			}
			return true
		})
	}
	slices.Sort(named)
	if named = slices.Compact(named); !slices.Equal(named, tables) {
		t.Errorf("engines are named in %v, want in %v alone", named, tables)
	}
}

// operands returns what n compares with something else.
func operands(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if n.Op == token.EQL || n.Op == token.NEQ {
			return []ast.Expr{n.X, n.Y}
		}
	case *ast.CaseClause:
		return n.List
	}
	return nil
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		if !f.test {
			documented[f.pkg] = documented[f.pkg] || f.tree.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

// Files and packages are named for their contents, not their kind.
var vague = regexp.MustCompile(`(^|/)(utils?|helpers?|common|managers?|misc|types|models|handlers|interfaces|constants)(_test)?(\.go)?(/|$)`)

func TestNamesAreNouns(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		if vague.MatchString(f.path) || vague.MatchString(f.tree.Name.Name) {
			t.Errorf("%s (package %s) has a name that says nothing", f.path, f.tree.Name.Name)
		}
	}
}

func TestFilesKeepTheHouseRules(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		for _, fault := range f.faults() {
			t.Errorf("%s: %s", f.path, fault)
		}
	}
}

// Each rule must fail on a bad example, or a typo in one would go unnoticed.
func TestHouseRulesFindFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, path, code, want string }{
		{"init", "internal/x/a.go", `func init() {}`, "func init"},
		{"a method named init is none", "internal/x/a.go", `func (t T) init() {}`, ""},
		{"the environment", "internal/x/a.go", `var v = os.Getenv("A")`, "os.Getenv"},
		{"the environment of config", "internal/config/a.go", `var v = os.Environ()`, ""},
		{"the environment of a guest", "bench/main.go", `var v = os.Getenv("A")`, ""},
		{"the environment of a test", "internal/x/a_test.go", `var v = os.Getenv("A")`, ""},
		{"exit", "internal/x/a.go", `func f() { os.Exit(1) }`, "os.Exit"},
		{"exit of main", "cmd/x/main.go", `func f() { os.Exit(1) }`, ""},
		{"context in a struct", "internal/x/a.go", `type t struct { ctx context.Context }`, "context.Context"},
		{"context in a context", "internal/scope/a.go", `type t struct { ctx context.Context }`, ""},
		{"context in a signature", "internal/x/a.go", `type t struct { f func(context.Context) }`, ""},
		{"sleep in a test", "internal/x/a_test.go", `func f() { time.Sleep(1) }`, "time.Sleep"},
		{"sleep in a bubble", "internal/x/a_test.go", "import \"testing/synctest\"\nfunc f() { time.Sleep(1) }", ""},
		{"sleep outside of a test", "internal/x/a.go", `func f() { time.Sleep(1) }`, ""},
		{"skip", "internal/x/a_test.go", `func f() { t.Skip("no node") }`, "Skip"},
		{"skip unless required", "internal/x/a.go", "// MAYFLY_REQUIRE\nfunc f() { t.Skipf(\"no node\") }", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pkg := "package x\n"
			if strings.HasSuffix(tt.path, "main.go") {
				pkg = "package main\n"
			}
			faults := parse(t, tt.path, []byte(pkg+tt.code)).faults()
			if (len(faults) > 0) != (tt.want != "") || len(faults) > 1 || len(faults) == 1 && !strings.Contains(faults[0], tt.want) {
				t.Errorf("faults = %q, want one with %q", faults, tt.want)
			}
		})
	}
}

// Line numbers go stale with the next change; symbols do not.
func TestDocumentsNameSymbolsNotLines(t *testing.T) {
	t.Parallel()
	line := regexp.MustCompile(`\w+\.go:[0-9]+`)
	for name, text := range documents(t) {
		if found := line.FindString(text); found != "" {
			t.Errorf("%s says %s: name the symbol", name, found)
		}
	}
}

// An invariant is unguarded if the test that it names was renamed.
func TestInvariantsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	texts := documents(t)
	tests := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			for _, d := range f.tree.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
					tests[fn.Name.Name] = true
				}
			}
		} else if f.tree.Doc != nil {
			texts[f.path] = f.tree.Doc.Text()
		}
	}
	named := regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w+`)
	for place, text := range texts {
		for _, name := range named.FindAllString(text, -1) {
			if !tests[name] {
				t.Errorf("%s names %s, which is not there", place, name)
			}
		}
	}
}

// A goFile is a Go file of the module, for any system.
type goFile struct {
	path string // within the module
	pkg  string // import path; that of the tested package for a test
	test bool
	tree *ast.File
}

// goFiles returns the module's files as the go command sees them.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	walk(t, ".go", func(name string, data []byte) { files = append(files, parse(t, name, data)) })
	if len(files) < 50 {
		t.Fatalf("only %d Go files were found", len(files))
	}
	return files
}

func parse(t *testing.T, name string, data []byte) *goFile {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return &goFile{
		path: name, pkg: path.Join(module, path.Dir(name)),
		test: strings.HasSuffix(name, "_test.go"), tree: tree,
	}
}

// documents returns every document by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	walk(t, ".md", func(name string, data []byte) { texts[name] = string(data) })
	return texts
}

// walk reads all files with an extension, except in folders that the go command skips and
// in node_modules.
func walk(t *testing.T, extension string, read func(name string, data []byte)) {
	t.Helper()
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); base == "testdata" || base == "node_modules" || name != "." && strings.ContainsAny(base[:1], "._") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != extension {
			return nil
		}
		data, err := fs.ReadFile(root, name)
		if err == nil {
			read(name, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f *goFile) imports() []string {
	var paths []string
	for _, i := range f.tree.Imports {
		p, _ := strconv.Unquote(i.Path.Value) // the parser has checked it
		paths = append(paths, p)
	}
	return paths
}

// faults returns the rules that the file breaks.
func (f *goFile) faults() []string {
	var found []string
	for _, decl := range f.tree.Decls {
		fn, _ := decl.(*ast.FuncDecl)
		if fn != nil && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, "func init: what starts by itself is found by nobody")
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.StructType:
				for _, field := range n.Fields.List {
					if selector(field.Type) == "context.Context" && !strings.HasPrefix(f.path, "internal/scope/") { // a context has a parent
						found = append(found, "context.Context in a struct: pass it as the first parameter")
					}
				}
			case *ast.SelectorExpr:
				if fault := f.forbids(n, fn); fault != "" {
					found = append(found, fault)
				}
			}
			return true
		})
	}
	return found
}

// forbids returns why the file may not use the selector in function fn, which is nil at
// package level.
func (f *goFile) forbids(s *ast.SelectorExpr, fn *ast.FuncDecl) string {
	guest := slices.Contains(guests, f.pkg)
	switch name := selector(s); {
	case name == "os.Getenv" || name == "os.LookupEnv" || name == "os.Environ":
		if !guest && !f.test && path.Dir(f.path) != "internal/config" && path.Dir(f.path) != "fn" { // fn is in a user's program
			return name + ": the environment is read in internal/config alone"
		}
	case name == "os.Exit":
		if f.tree.Name.Name != "main" && !f.test {
			return name + " outside of package main"
		}
	case name == "time.Sleep":
		// In a synctest bubble, sleeping is free. Its functions are outside the call, so
		// trust the whole file.
		if f.test && !slices.Contains(f.imports(), "testing/synctest") {
			return name + " in a test: wait for an event"
		}
	case s.Sel.Name == "Skip" || s.Sel.Name == "Skipf" || s.Sel.Name == "SkipNow":
		if x, ok := s.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) && !f.mentions(fn, "MAYFLY_REQUIRE") {
			return s.Sel.Name + ": a test may skip only unless MAYFLY_REQUIRE names what it lacks"
		}
	}
	return ""
}

// mentions reports whether a function's comment or code contains the text.
func (f *goFile) mentions(fn *ast.FuncDecl, text string) bool {
	if fn == nil {
		return false
	}
	found := strings.Contains(fn.Doc.Text(), text)
	ast.Inspect(fn, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && strings.Contains(lit.Value, text) {
			found = true
		}
		return !found
	})
	return found
}

// selector returns x.y for a selector of two names, or "".
func selector(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + s.Sel.Name
}
