package shim

import (
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/mayfly-run/mayfly"
)

// methods are exports that handle one method each.
const methods = "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"

// handled matches a CommonJS module that exports a handler; esbuild reports a default
// export for every such module.
var handled = regexp.MustCompile(`\bmodule\s*\.\s*exports\b|\bexports\s*\.\s*(default|fetch|` + methods + `)\b`)

// foreign are the exports that other platforms use as handlers, each with what to
// export by default instead.
var foreign = map[string]string{
	"fetch":  "{ fetch }",
	"handle": "async (request) => new Response(await request.text(), { status: 200 })",
	"handler": "async (request) => { " +
		"const { statusCode, headers, body } = await handler({ body: await request.text(), headers: Object.fromEntries(request.headers) }); " +
		"return new Response(body, { status: statusCode, headers }); }",
	"onRequest": "(request, context) => onRequest({ request, ...context })",
}

var (
	// foreignExport matches a CommonJS module's export of such a name.
	foreignExport = regexp.MustCompile(`\bexports\s*\.\s*(handler|handle|onRequest)\s*=|\bmodule\s*\.\s*exports\s*=\s*\{[^{}]*\b(handler|handle|onRequest)\b`)

	// eventHandler matches a default export that takes an event, as at AWS and OpenFaaS.
	eventHandler = regexp.MustCompile(`(\bmodule\s*\.\s*exports\s*=|\bexport\s+default)\s*(?:async\b\s*)?(?:function\b\s*\w*\s*)?\(\s*event\b[^,()]*,\s*(?:context|callback)\b`)

	// ownExport matches a CommonJS module's export of a form that is served, beside which
	// it may have another platform's: an app or a function, a named form, or an object with one.
	ownExport = regexp.MustCompile(`\bmodule\s*\.\s*exports\s*=\s*[^\s{=]` +
		`|\bexports\s*\.\s*(?:default|fetch|` + methods + `)\s*=` +
		`|\bmodule\s*\.\s*exports\s*=\s*\{(?:(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*,)?\s*(?:async\s+)?["']?(?:default|fetch)["']?\s*[,:}(]`)

	// foreignGlobal matches a call of what only another runtime has.
	foreignGlobal = regexp.MustCompile(`(?m)^([ \t]*)((?:addEventListener\s*\(\s*["']fetch["']|Deno\s*\.\s*serve\s*\(|Bun\s*\.\s*serve\s*\())`)

	// listening matches a program, which may export what it likes.
	listening = regexp.MustCompile(`\.\s*listen\s*\(`)
)

// isShort reports whether the entry is a short form, as its exports tell. Another
// platform's handler is an error with what to write instead.
func isShort(file string, source []byte, isModule bool) (short bool, err error) {
	handles := !isModule && handled.Match(source)
	var exports []string
	if isModule {
		if exports, err = exportsOf(file); err != nil {
			return false, err
		}
		handles = slices.Contains(exports, "default")
	}
	if found := foreignCall(source, handles); found != nil {
		return false, mayfly.Errorf(mayfly.Invalid, "%s calls %s...), which Node.js does not have", filepath.Base(file), found).
			WithHint("export default { fetch(request) { return new Response(\"hello\") } }")
	}
	if listening.Match(source) {
		// What it listens on decides, once it runs.
	} else if found := eventHandler.FindSubmatch(source); found != nil {
		return false, mayfly.Errorf(mayfly.Invalid, "%s has the handler (event, context) of another platform", filepath.Base(file)).
			WithHint("%s async (request) => new Response(await request.text(), { status: 200 })", bytes.Join(bytes.Fields(found[1]), []byte(" ")))
	} else if found := foreignExport.FindSubmatch(source); found != nil && !isModule && !ownExport.Match(source) {
		return false, noDefault(file, string(slices.Concat(found[1], found[2])), "module.exports =")
	}
	if isModule && !handles {
		return moduleIsShort(file, source, exports)
	}
	return handles, nil
}

// foreignCall returns a call of what only another runtime has. Code with a handler for
// Node.js may make it below a test for that runtime, so indented.
func foreignCall(source []byte, handles bool) []byte {
	for _, found := range foreignGlobal.FindAllSubmatch(source, -1) {
		if indented := len(found[1]) > 0; !indented || !handles {
			return found[2]
		}
	}
	return nil
}

// moduleIsShort is isShort for an ES module without a default export.
func moduleIsShort(file string, source []byte, exports []string) (short bool, err error) {
	for _, name := range exports {
		if slices.Contains(strings.Split(methods, "|"), name) {
			return true, nil
		}
		if _, ok := foreign[name]; ok {
			return false, noDefault(file, name, "export default")
		}
	}
	if len(bytes.TrimSpace(source)) == 0 {
		return false, mayfly.Errorf(mayfly.Invalid, "%s is empty", filepath.Base(file)).
			WithHint("export default function (request) { return \"hello\" }")
	}
	return false, nil
}

// noDefault is the error for an export that only another platform calls.
func noDefault(file, name, export string) error {
	return mayfly.Errorf(mayfly.Invalid, "%s exports %s but has no default export", filepath.Base(file), name).
		WithHint("%s %s", export, foreign[name])
}

// exportsOf returns the names that an ES module exports. esbuild does not list those of
// a CommonJS bundle; `export *` never passes on a default.
func exportsOf(file string) (names []string, err error) {
	alone := api.Build(api.BuildOptions{
		EntryPoints: []string{file}, AbsWorkingDir: filepath.Dir(file),
		Format: api.FormatESModule, Metafile: true, LogLevel: api.LogLevelSilent,
	})
	meta, err := readMetafile(alone)
	for _, out := range meta.Outputs {
		names = append(names, out.Exports...)
	}
	return names, err
}
