package project

import (
	"encoding/json"
	"errors"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// What detect finds at a path:
//
//	.js .ts and their kin       JavaScript          http
//	.py                         Python              http
//	.go, or a folder with some  Go                  http, or service: package main
//	                                                that imports nats.go, not net/http
//	.sh                         a shell script      exec
//	#! in the first two bytes   a script            exec
//	a native executable         a program           exec
//	a folder with index.html    static files        static
//
// In a folder: package.json's exports or main, else index.*, app.py, main.py or the Go package. Two
// of them, or none, is an error that lists what was looked for. A script of a page beside it
// is no program.

// A language decides how code is built.
type language string

const (
	javaScript language = "JavaScript"
	python     language = "Python"
	golang     language = "Go"
	shell      language = "shell"   // a script for sh
	program    language = "program" // started as it is
	files      language = "files"   // served as they are
)

// extensions of each language's files.
var extensions = map[string]language{
	".js": javaScript, ".mjs": javaScript, ".cjs": javaScript, ".jsx": javaScript,
	".ts": javaScript, ".mts": javaScript, ".cts": javaScript, ".tsx": javaScript,
	".py": python,
	".go": golang,
	".sh": shell,
}

// sought describes what a folder is searched for.
const sought = "package.json with main, index.js (.ts, .mjs, ...), index.py, index.sh, app.py, main.py, handler.js (.ts, .py, ...), a Go package, index.html"

// A found is what detect returns.
type found struct {
	language language
	engine   mayfly.Engine
	whole    bool   // the code is the folder, else the file alone
	folder   string // absolute
	entry    string // the file that is run, absolute; of a Go package its folder
}

// detect identifies the code at an absolute path.
func detect(code string) (found, error) {
	info, err := os.Stat(code)
	if errors.Is(err, fs.ErrNotExist) {
		return found{}, mayfly.Errorf(mayfly.NotFound, "no file or folder %s", code)
	}
	if err != nil {
		return found{}, mayfly.Errorf(mayfly.Invalid, "find the code: %w", err)
	}
	if info.IsDir() {
		f, err := detectFolder(code)
		f.whole, f.folder = true, code
		return f, err
	}
	if !info.Mode().IsRegular() {
		return found{}, mayfly.Errorf(mayfly.Invalid, "%s is neither a file nor a folder", code)
	}
	return detectFile(code)
}

func detectFile(file string) (found, error) {
	f := found{language: extensions[strings.ToLower(filepath.Ext(file))], engine: engineHTTP, folder: filepath.Dir(file), entry: file}
	switch {
	case f.language == golang:
		return detectGoFile(f)
	case f.language == shell:
		f.engine = engineExec
		return f, nil
	case f.language != "":
		return f, nil
	case strings.EqualFold(filepath.Ext(file), ".wasm"):
		return f, mayfly.Errorf(mayfly.Invalid, "%s is WebAssembly, which this version does not support", file)
	case strings.EqualFold(filepath.Ext(file), ".html"):
		return f, mayfly.Errorf(mayfly.Invalid, "%s is an HTML page, not a program", file).WithHint("name its folder, whose files are then served")
	}
	head, err := readHead(file)
	if err != nil {
		return f, mayfly.Errorf(mayfly.Invalid, "read %s: %w", file, err)
	}
	if !strings.HasPrefix(head, "#!") && !isNative(head) {
		return f, mayfly.Errorf(mayfly.Invalid, "cannot run %s: its name is not that of a JavaScript, TypeScript, Python, Go or shell file, it has no #! line, and it is not an executable for this system", file).
			WithHint("give it its language's extension, or add a %s with start:", Manifest)
	}
	f.language, f.engine = program, engineExec
	return f, nil
}

// readHead returns the first bytes of a file.
func readHead(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var head [4]byte
	n, err := io.ReadFull(f, head[:])
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return string(head[:n]), err
}

// isNative reports whether a file that starts with head holds machine code: ELF, Mach-O
// (32 or 64 bits, or both) or PE.
func isNative(head string) bool {
	return slices.Contains([]string{"\x7fELF", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe", "\xca\xfe\xba\xbe", "MZ\x90\x00"}, head)
}

func detectFolder(folder string) (found, error) {
	var all []found
	var names []string
	add := func(f found, name string) { all, names = append(all, f), append(names, name) }
	var handlers []string // what counts if there is nothing else
	entries, err := os.ReadDir(folder)
	if err != nil {
		return found{}, mayfly.Errorf(mayfly.Invalid, "read %s: %w", folder, err)
	}
	main, err := packageMain(folder)
	if err != nil {
		return found{}, err
	}
	if main != "" {
		f, err := detectFile(main)
		if err != nil {
			return f, err
		}
		name, _ := below(folder, main)
		add(f, name+" (main of package.json)")
	}
	for _, e := range entries {
		stem, extension := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), filepath.Ext(e.Name())
		language, known := extensions[extension]
		if !known || strings.HasPrefix(stem, ".") { // editors keep locks in such files
			continue
		}
		info, err := os.Stat(filepath.Join(folder, e.Name()))
		if err != nil || info.IsDir() {
			continue
		}
		// Reading a pipe, as a compiler would, blocks forever.
		if !info.Mode().IsRegular() {
			return found{}, mayfly.Errorf(mayfly.Invalid, "%s is not a regular file", filepath.Join(folder, e.Name())).WithHint("delete it")
		}
		if stem == "handler" && language != golang {
			handlers = append(handlers, e.Name())
		}
		isIndex := stem == "index" && language != golang && (language != javaScript || main == "")
		if !isIndex && e.Name() != "app.py" && e.Name() != "main.py" {
			continue
		}
		f, err := detectFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return f, err
		}
		add(f, e.Name())
	}
	if f, err := detectGoPackage(folder); err != nil {
		return f, err
	} else if f.entry != "" {
		add(f, "a Go package")
	}
	if len(all) > 0 || isFile(folder, indexPage) {
		handlers = nil
	}
	for _, name := range handlers {
		f, err := detectFile(filepath.Join(folder, name))
		if err != nil {
			return f, err
		}
		add(f, name)
	}
	switch len(all) {
	case 1:
		if isFile(folder, indexPage) && !isFile(folder, packageFile) && isPageScript(all[0]) {
			return found{}, mayfly.Errorf(mayfly.Invalid, "more than one thing to run in %s: %s, %s", folder, indexPage, names[0]).
				WithHint("to serve the files, add a %s with engine: static; to run the script, name %s", Manifest, names[0])
		}
		return all[0], nil
	case 0:
		nothing := mayfly.Errorf(mayfly.NotFound, "nothing to run in %s: looked for %s, %s", folder, Manifest, sought)
		if !isFile(folder, indexPage) {
			return found{}, nothing.WithHint("name a file, or add a %s", Manifest)
		}
		if isFile(folder, packageFile) { // the page is the source of another
			return found{}, nothing.WithHint("build the pages and name the folder with them, such as %s", filepath.Join(folder, "dist"))
		}
		return found{language: files, engine: engineStatic}, nil
	default:
		return found{}, mayfly.Errorf(mayfly.Invalid, "more than one thing to run in %s: %s", folder, strings.Join(names, ", ")).
			WithHint("name one of them, or add a %s that does", Manifest)
	}
}

// indexPage makes a folder without a program one of static files.
const indexPage = "index.html"

// forNode matches what the script of a page does not have: exports, or what no browser offers.
var forNode = regexp.MustCompile(`\bexport\s*(?:\{|(?:default|const|let|var|function|class|async)\b)` +
	`|\bexports\b|\brequire\b|\bprocess\s*\.|\.\s*listen\s*\(|["\x27]node:`)

// isPageScript reports whether code may be a script of a web page beside it.
func isPageScript(f found) bool {
	extension := filepath.Ext(f.entry)
	if f.language != javaScript || extension != ".js" && extension != ".mjs" {
		return false
	}
	source, err := os.ReadFile(f.entry)
	return err == nil && !forNode.Match(source)
}

func isFile(folder, name string) bool {
	info, err := os.Stat(filepath.Join(folder, name))
	return err == nil && info.Mode().IsRegular()
}

// packageMain returns the file that package.json's exports or main name, or "" if that
// file does not exist: `npm init` writes main in any case.
func packageMain(folder string) (string, error) {
	data, err := readFile(os.DirFS(folder), packageFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	file := filepath.Join(folder, packageFile)
	if err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "read %s: %w", file, err)
	}
	var p struct {
		Main    string `json:"main"`
		Exports any    `json:"exports"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return "", mayfly.Errorf(mayfly.Invalid, "read %s: %w", file, err)
	}
	for _, target := range []struct{ key, path string }{{"exports", exported(p.Exports)}, {"main", p.Main}} {
		name := filepath.Clean(filepath.FromSlash(target.path))
		if target.path == "" || name == "." {
			continue
		}
		if !filepath.IsLocal(name) {
			return "", mayfly.Errorf(mayfly.Invalid, "%s %q in %s is not below its folder", target.key, mayfly.Clip(target.path), file)
		}
		for _, ending := range []string{"", ".js", ".mjs", ".cjs", "/index.js", "/index.mjs", "/index.cjs"} { // as Node.js looks for it
			if info, err := os.Stat(filepath.Join(folder, name+ending)); err == nil && info.Mode().IsRegular() {
				return filepath.Join(folder, name+ending), nil
			}
		}
	}
	return "", nil
}

// exported returns the path that exports of package.json have for the package itself.
func exported(exports any) string {
	switch e := exports.(type) {
	case string:
		return e
	case []any:
		for _, one := range e {
			if path := exported(one); path != "" {
				return path
			}
		}
	case map[string]any:
		for _, key := range []string{".", "node", "import", "require", "default"} {
			if path := exported(e[key]); path != "" {
				return path
			}
		}
	}
	return ""
}

// detectGoPackage returns what the Go files of a folder are, or nothing if there
// are none.
func detectGoPackage(folder string) (found, error) {
	p, err := build.ImportDir(folder, 0)
	if _, none := errors.AsType[*build.NoGoError](err); none || err == nil && len(p.GoFiles)+len(p.CgoFiles) == 0 {
		return found{}, nil
	}
	if err != nil {
		// It exists but cannot be read: let the compiler say why.
		return found{language: golang, engine: engineHTTP, entry: folder}, nil
	}
	return found{language: golang, engine: goEngine(p.Name, p.Imports), entry: folder}, nil
}

func detectGoFile(f found) (found, error) {
	tree, err := parser.ParseFile(token.NewFileSet(), f.entry, nil, parser.ImportsOnly)
	if err != nil {
		return f, nil // let the compiler say why
	}
	var imports []string
	for _, i := range tree.Imports {
		path, _ := strconv.Unquote(i.Path.Value) // the parser has checked it
		imports = append(imports, path)
	}
	f.engine = goEngine(tree.Name.Name, imports)
	return f, nil
}

// goEngine distinguishes programs that speak NATS from those that serve HTTP.
func goEngine(name string, imports []string) mayfly.Engine {
	speaksNATS := slices.ContainsFunc(imports, func(path string) bool {
		return path == natsModule || strings.HasPrefix(path, natsModule+"/")
	})
	if name == "main" && speaksNATS && !slices.Contains(imports, "net/http") {
		return engineService
	}
	return engineHTTP
}

const natsModule = "github.com/nats-io/nats.go"
