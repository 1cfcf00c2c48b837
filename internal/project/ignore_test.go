package project

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestIgnoreKnowsGitsRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rules, yes, no string // paths, / at a folder's end
	}{
		{"", ".git/ .git/config .env a/.DS_Store node_modules/ a/node_modules/x.js __pycache__/ a/__pycache__/", "a a.env node_modules __pycache__"},
		{"*.log", "a.log b/c/a.log a.log/ a.log/x", "a.logs log"},
		{"/dist", "dist dist/ dist/a", "a/dist dist2"},
		{"docs/*.md", "docs/a.md", "docs/b/a.md a/docs/a.md"},
		{"a/**/b", "a/b a/x/b a/x/y/b", "ab x/a/b"},
		{"**/tmp", "tmp a/tmp a/b/tmp", "atmp"},
		{"tmp/**", "tmp/a tmp/a/b", "tmp tmp/"},
		{"tmp/", "tmp/ a/tmp/ tmp/x", "tmp a/tmp"},
		{"[abc].txt\nx[!0-9]", "a.txt d/c.txt xa", "d.txt x1 x/"},
		{"a?c", "abc aßc", "ac a/c"},
		{"*.log\n!keep.log", "a.log", "keep.log a/keep.log"},
		{"tmp/\n!tmp/keep", "tmp/keep", "keep"},
		{"!.env", ".git/", ".env"},
		{"!node_modules/", ".env", "node_modules/ node_modules/a"},
		{"# a\n\n\\#b\n\\!c\nd\\*", "#b !c d*", "a d dx"},
		{"a[\n[]\n[^a]", "a[", "a ab"},
		{"a.c", "a.c", "abc"},
		{"a  \r\n", "a", "b"},
		{"\xff", "", "ab"},
		{"größe", "größe x/größe", "grösse"},
	} {
		all, err := parseRules(tt.rules)
		if err != nil {
			t.Errorf("%q: %v", tt.rules, err)
			continue
		}
		for _, name := range strings.Fields(tt.yes) {
			if !all.match(name) {
				t.Errorf("%q does not ignore %s", tt.rules, name)
			}
		}
		for _, name := range strings.Fields(tt.no) {
			if all.match(name) {
				t.Errorf("%q ignores %s", tt.rules, name)
			}
		}
	}
}

// Some editors begin each file with a byte order mark. A first rule that does not count
// ships what it should leave out.
func TestByteOrderMarkIsNoText(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{
		ignoreName: "private.txt\r\n*.log\r\n", packageFile: `{"main": "run.js"}`, "run.js": "",
		"mayfly.yml": "functions: {a: {code: run.js, env: {A: \"${A}\"}}}", dotenvName: "A=from .env\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("\ufeff"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := readRules(folder); err != nil || !all.match("private.txt") || !all.match("a.log") {
		t.Errorf("the first rule does not count (%v)", err)
	}
	if main, err := packageMain(folder); err != nil || filepath.Base(main) != "run.js" {
		t.Errorf("main is %q, %v", main, err)
	}
	p, err := Open(folder, func(string) (string, bool) { return "", false })
	if err != nil || len(p.Functions) != 1 || p.Functions[0].Unit.Env["A"] != "from .env" {
		t.Errorf("project %+v, %v", p, err)
	}
}

func TestIgnoreOfInstalledPackages(t *testing.T) {
	t.Parallel()
	all, err := parseRules("docs\n!node_modules/own/.env")
	if err != nil {
		t.Fatal(err)
	}
	installed := all.installed()
	for name, want := range map[string]bool{".git/": true, ".env": true, ".env.local": true, ".npmrc": true, "docs/": true, "own/.env": false, ".config.js": false, "index.js": false} {
		if got := installed.matchOne("node_modules/" + name); got != want {
			t.Errorf("%s is ignored: %v", name, got)
		}
	}
}

func TestIgnoreWithoutOneOfTheDefaults(t *testing.T) {
	t.Parallel()
	all, err := parseRules("*.log")
	if err != nil {
		t.Fatal(err)
	}
	kept := all.without("node_modules/")
	for name, want := range map[string]bool{"node_modules/": false, ".env": true, "__pycache__/": true, "a.log": true} {
		if kept.match(name) != want {
			t.Errorf("%s is ignored: %v", name, !want)
		}
	}
	if !all.match("node_modules/") {
		t.Error("the rules themselves changed")
	}
}

func TestIgnoreBoundsItsWork(t *testing.T) {
	t.Parallel()
	for _, text := range []string{strings.Repeat("a\n", 2000), strings.Repeat("*", 2000)} {
		if _, err := parseRules(text); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("error %v", err)
		}
	}
}

func FuzzIgnore(f *testing.F) {
	f.Add("*.log\n!a/**/b\n[a-z]?\\*", "a/x/b.log")
	f.Add("[z-a]\n[!]\n**/\n/", "/")
	f.Fuzz(func(t *testing.T, text, name string) {
		all, err := parseRules(text)
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Invalid {
				t.Fatal(err)
			}
			return
		}
		all.match(name)
	})
}
