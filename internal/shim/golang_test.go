package shim_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/shim"
)

const goHello = `package hello

import (
	"io"
	"net/http"
)

func Handle(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/boom" {
		boom(nil)
	}
	if r.URL.Path == "/late" {
		io.WriteString(w, "begun")
		boom(nil)
	}
	io.WriteString(w, "hello "+r.Header.Get("Name"))
}

func boom(m map[string]int) {
	m["a"] = 1
}
`

func TestGoServesAHandlerFromASingleFile(t *testing.T) {
	t.Parallel()
	folder := write(t, map[string]string{
		"hello.go": goHello,
		"other.go": "package other\n\nthis is not even Go",
	})
	r, i := buildGo(t, shim.GoOptions{File: filepath.Join(folder, "hello.go")})
	if want := []string{filepath.Join(folder, "hello.go")}; !r.Short || !slices.Equal(r.Inputs, want) {
		t.Errorf("short is %v of %q, want true of %q", r.Short, r.Inputs, want)
	}
	if reply := i.get(t, "/", "Name", "Ada"); reply.status != 200 || reply.body != "hello Ada" {
		t.Errorf("reply = %d %q", reply.status, reply.body)
	}
	for range 2 { // it lives on
		reply := i.get(t, "/boom")
		const want = "panic: assignment to entry in nil map\n\nfunction.boom\n\thello.go:20\nfunction.Handle\n\thello.go:10\n"
		if reply.status != 502 || reply.body != want || reply.header.Get(mayfly.HeaderCrash) != "panic: assignment to entry in nil map" {
			t.Errorf("a panic answered %d %q\n%s\nwant\n%s", reply.status, reply.header, reply.body, want)
		}
	}
	if reply, err := i.try("/late"); err == nil {
		t.Errorf("a reply that panicked half-way came whole: %q", reply.body)
	}
	i.stop(t)
	if !strings.Contains(i.stderr.String(), "hello.go:20") {
		t.Errorf("stderr = %q, want the stack", i.stderr.String())
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) != 2 {
		t.Errorf("the user's folder holds %q", left)
	}
}

func TestGoBuildsWithinTheUsersModule(t *testing.T) {
	t.Parallel()
	folder := write(t, map[string]string{
		"shop/go.mod":                   "module example.com/shop\n\ngo 1.24\n\nrequire example.com/money v0.0.0\n\nreplace example.com/money => ../money\n",
		"shop/cart/cart.go":             "package cart\n\nimport (\n\t_ \"embed\"\n\t\"net/http\"\n\n\t\"example.com/money\"\n\t\"example.com/shop/cart/internal/tax\"\n)\n\n//go:embed motto.txt\nvar motto string\n\nfunc Handle(w http.ResponseWriter, _ *http.Request) {\n\tw.Write([]byte(money.Euro + tax.Rate + motto))\n}\n",
		"shop/cart/internal/tax.go":     "package internal\n",
		"shop/cart/internal/tax/tax.go": "package tax\n\nconst Rate = \"21\"\n",
		"shop/cart/motto.txt":           "!",
		"money/go.mod":                  "module example.com/money\n\ngo 1.24\n",
		"money/money.go":                "package money\n\nconst Euro = \"EUR\"\n",
	})
	before := tree(t, folder)
	r, i := buildGo(t, shim.GoOptions{Folder: filepath.Join(folder, "shop", "cart")})
	if reply := i.get(t, "/"); reply.body != "EUR21!" {
		t.Errorf("reply = %q", reply.body)
	}
	var want []string
	for _, file := range []string{"money/go.mod", "money/money.go", "shop/cart/cart.go", "shop/cart/internal/tax/tax.go", "shop/cart/motto.txt", "shop/go.mod"} {
		want = append(want, filepath.Join(folder, filepath.FromSlash(file)))
	}
	if !slices.Equal(r.Inputs, want) {
		t.Errorf("inputs = %q, want %q", r.Inputs, want)
	}
	if after := tree(t, folder); !slices.Equal(after, before) {
		t.Errorf("the build made of %q %q", before, after)
	}
}

// What the generated main brings along must be understood by the Go that a user has.
func TestGoNeedsNoNewGo(t *testing.T) {
	t.Parallel()
	folder := write(t, map[string]string{"go.mod": "module example.com/old\n\ngo 1.21\n", "hello.go": goHello})
	work := t.TempDir()
	_, err := shim.Go(t.Context(), shim.GoOptions{Folder: folder, Out: filepath.Join(t.TempDir(), "hello"), Work: work})
	if err != nil {
		t.Fatalf("build: %v\n%v", err, errors.Unwrap(err))
	}
	if err := os.CopyFS(filepath.Join(folder, "mayfly_main"), os.DirFS(filepath.Join(work, "mayfly_main"))); err != nil {
		t.Fatal(err)
	}
	vet := exec.Command("go", "vet", "./mayfly_main/...") // knows since when functions are there
	vet.Dir = folder
	if said, err := vet.CombinedOutput(); err != nil {
		t.Errorf("vet: %v\n%s", err, said)
	}
}

func TestGoSaysWhatIsWrong(t *testing.T) {
	t.Setenv("GOPROXY", "off") // so it is alone
	const get = "package hello\n\nimport \"net/http\"\n\n"
	for _, tt := range []struct {
		name    string
		code    string
		message string
		hint    string
		trace   string
	}{
		{
			"does not compile", get + "func Handle(w http.ResponseWriter, r *http.Request) { foo() }\n",
			"hello.go does not compile", "", "hello.go:5:55: undefined: foo\n",
		},
		{"is no Go", "package hello\n\nfunc Handle(", "hello.go does not compile", "", "hello.go:3:13: syntax error: "},
		{
			"an unknown module", "package hello\n\nimport \"example.invalid/nope\"\n",
			"hello.go does not compile", "make it a module", "hello.go:3:8: ",
		},
		{
			"no Handle", get + "func Handler(w http.ResponseWriter, r *http.Request) {}\n",
			"package hello in hello.go has no func Handle", "write func Handle", "",
		},
		{
			"another Handle", get + "func Handle(r *http.Request) string { return \"\" }\n",
			"Handle in hello.go is a func(r *http.Request) string", "write func Handle", "",
		},
		{
			"Handle in main", "package main\n\nimport \"net/http\"\n\nfunc Handle(w http.ResponseWriter, r *http.Request) {}\n",
			"hello.go has func Handle in package main, which cannot be imported", "rename the package", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := write(t, map[string]string{"hello.go": tt.code})
			_, err := shim.Go(t.Context(), shim.GoOptions{
				File: filepath.Join(folder, "hello.go"), Out: filepath.Join(t.TempDir(), "hello"), Work: t.TempDir(),
			})
			refused(t, err, tt.message, tt.hint, tt.trace)
		})
	}
}

func TestGoBuildsAProgramForAnotherPlatform(t *testing.T) {
	t.Parallel()
	folder := write(t, map[string]string{"main.go": "package main\n\nfunc main() { println() }\n"})
	// Without imports it costs the runtime alone to build.
	out := filepath.Join(t.TempDir(), "tool")
	r, err := shim.Go(t.Context(), shim.GoOptions{Folder: folder, Out: out, Work: t.TempDir(), GOOS: runtime.GOOS, GOARCH: runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	if r.Short != false || !slices.Equal(r.Start, []string{"./tool"}) {
		t.Errorf("result = %+v", r)
	}
	if _, err := os.Stat(out); err != nil {
		t.Error(err)
	}
}

func TestGoGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := shim.Go(ctx, shim.GoOptions{Folder: t.TempDir(), Out: filepath.Join(t.TempDir(), "x"), Work: t.TempDir()})
	if !errors.Is(err, ctx.Err()) {
		t.Errorf("err = %v, want %v", err, ctx.Err())
	}
}

// buildGo builds and starts a handler.
func buildGo(t *testing.T, o shim.GoOptions) (shim.Result, *instance) {
	t.Helper()
	out := t.TempDir()
	o.Out, o.Work = filepath.Join(out, "hello"), t.TempDir()
	r, err := shim.Go(t.Context(), o)
	if err != nil {
		t.Fatalf("build: %v\n%v", err, errors.Unwrap(err))
	}
	return r, start(t, r, out)
}
