package mayfly_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

// docs/protocol.md is what people build against: a name that is missing there, or
// a number that differs, is a broken promise.

func TestProtocolListsTheWire(t *testing.T) {
	t.Parallel()
	page := readFile(t, "docs/protocol.md")
	constants := wireConstants(t)
	if len(constants) < 20 {
		t.Fatalf("wire.go has %d constants: the test reads it wrong", len(constants))
	}
	for name, value := range constants {
		// As code, and as a whole word: `Mayfly-Call` is not in Mayfly-Caller. A
		// prefix is followed by what fills it.
		listed := regexp.MustCompile("`" + regexp.QuoteMeta(value) + "(`|[ .:]|<)")
		if !listed.MatchString(page) {
			t.Errorf("%s = %q does not stand in docs/protocol.md", name, value)
		}
	}
}

func TestProtocolHasTheTableOfCodes(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]+) \\| ([0-9]+) \\|")
	got := map[string][2]int{}
	for _, m := range row.FindAllStringSubmatch(readFile(t, "docs/protocol.md"), -1) {
		status, _ := strconv.Atoi(m[2]) // the pattern takes digits only
		exit, _ := strconv.Atoi(m[3])
		got[m[1]] = [2]int{status, exit}
	}
	for _, code := range mayfly.Codes() {
		if want := [2]int{code.Status(), code.Exit()}; got[code.String()] != want {
			t.Errorf("%s stands there with %v, want %v", code, got[code.String()], want)
		}
		delete(got, code.String())
	}
	for name := range got {
		t.Errorf("there is no code %q", name)
	}
}

func TestProtocolListsThePathsOfTheGateway(t *testing.T) {
	t.Parallel()
	list := regexp.MustCompile(`cannot be taken: ([^.]*(?:\.json[^.]*)?)\.\n`).FindStringSubmatch(
		strings.ReplaceAll(readFile(t, "docs/protocol.md"), "`", ""))
	if list == nil {
		t.Fatal("the sentence with the paths is gone")
	}
	for path := range strings.SplitSeq(list[1], ",") {
		p, err := mayfly.ParsePattern("/" + strings.TrimSpace(path))
		if err != nil {
			t.Fatal(err)
		}
		if !p.Reserved() {
			t.Errorf("%s can be taken", p)
		}
	}
}

// wireConstants returns the values of wire.go's string constants by their names.
// One that is built of another is resolved.
func wireConstants(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "wire.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]string{}
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			for i, name := range spec.Names {
				constants[name.Name] = constantText(t, spec.Values[i], constants)
			}
		}
	}
	return constants
}

// constantText evaluates literals, names of constants before it, and their sums.
func constantText(t *testing.T, e ast.Expr, known map[string]string) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatalf("wire.go has the constant %s, which is no string", e.Value)
		}
		return text
	case *ast.Ident:
		text, ok := known[e.Name]
		if !ok {
			t.Fatalf("wire.go uses %s before it is declared", e.Name)
		}
		return text
	case *ast.BinaryExpr:
		return constantText(t, e.X, known) + constantText(t, e.Y, known)
	default:
		t.Fatalf("wire.go has a constant made by %T", e)
		return ""
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
