package project

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
)

// Update tells the tests to rewrite golden files and the tables of the manual.
var Update = flag.Bool("update", false, "rewrite the golden files")

// The manual's tables are the tables of the code.
func TestManualListsEveryKey(t *testing.T) {
	t.Parallel()
	const manual = "../../docs/manifest.md"
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]row{"project": projectKeys.rows(), "function": functionKeys.rows(), "service": serviceKeys.rows(), "route": routeKeys.rows()}
	var found []string
	place := regexp.MustCompile(`(?s)<!-- keys of a (\w+) -->\n.*?<!-- end -->`)
	got := place.ReplaceAllStringFunc(string(data), func(old string) string {
		name := place.FindStringSubmatch(old)[1]
		found = append(found, name)
		return "<!-- keys of a " + name + " -->\n" + manualTable(tables[name]) + "<!-- end -->"
	})
	if slices.Sort(found); !slices.Equal(found, slices.Sorted(maps.Keys(tables))) {
		t.Errorf("the manual has the tables %q", found)
	}
	golden(t, manual, []byte(got))
}

func manualTable(rows []row) string {
	var b strings.Builder
	b.WriteString("| key | value | default |\n|---|---|---|\n")
	for _, r := range rows {
		fallback := ""
		if r.fallback != nil {
			fallback = fmt.Sprintf("`%v`", r.fallback)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.name, r.doc, fallback)
	}
	return b.String()
}

func TestSchemaIsWhatWasReviewed(t *testing.T) {
	t.Parallel()
	golden(t, "testdata/manifest.schema.json", Schema())
}

// golden compares got with a file, or writes it there.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *Update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s is stale, run: go test ./internal/project -update\n%s", file, cmp.Diff(string(want), string(got)))
	}
}

// Whoever writes the defaults out gets what he would get without them.
func TestDefaultsAreTheRealOnes(t *testing.T) {
	t.Parallel()
	var limits mayfly.Limits
	function, all := parseWith(t, "functions", "{code: .}"), parseWith(t, "functions", saysDefaults(t, functionKeys.rows()))
	limits = limits.WithDefaults()
	if diff := cmp.Diff(limits, all.Functions[0].Unit.Limits); diff != "" {
		t.Errorf("limits: %s", diff)
	}
	function.Functions[0].Unit.Limits = limits
	if diff := cmp.Diff(function.Functions[0].Unit, all.Functions[0].Unit); diff != "" {
		t.Errorf("function: %s", diff)
	}
	service, all := parseWith(t, "services", "{code: .}"), parseWith(t, "services", saysDefaults(t, serviceKeys.rows()))
	if diff := cmp.Diff(service.Services[0].Unit, all.Services[0].Unit); diff != "" {
		t.Errorf("service: %s", diff)
	}
}

// saysDefaults returns an entry of a manifest that says every default.
func saysDefaults(t *testing.T, rows []row) string {
	t.Helper()
	entry := map[string]any{"code": "."}
	for _, r := range rows {
		if r.fallback == nil {
			continue
		}
		if above, name, ok := strings.Cut(r.name, "."); ok {
			if above == "cors" {
				continue // without origins there is none
			}
			if entry[above] == nil {
				entry[above] = map[string]any{}
			}
			entry[above].(map[string]any)[name] = r.fallback
			continue
		}
		entry[r.name] = r.fallback
	}
	text, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parseWith(t *testing.T, key, entry string) *Project {
	t.Helper()
	p, err := Parse(Manifest, []byte(key+": {a: "+entry+"}"), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A table that says a key twice would read the first and document both.
func TestKeysAreDescribedOnce(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string][]row{"project": projectKeys.rows(), "function": functionKeys.rows(), "service": serviceKeys.rows(), "route": routeKeys.rows()} {
		seen := map[string]bool{}
		for _, r := range rows {
			if seen[r.name] || !strings.HasSuffix(r.doc, ".") || strings.ContainsAny(r.doc, "|\n") {
				t.Errorf("key %s of a %s: twice, or no sentence: %q", r.name, name, r.doc)
			}
			seen[r.name] = true
		}
	}
}

// The config file and the manifest know each other's keys: each is a common place
// to put the other's.
func TestKeysInTheWrongFileAreSentToTheRightOne(t *testing.T) {
	t.Parallel()
	for _, k := range projectKeys {
		if config.IsNodeKey(k.name) {
			t.Errorf("%s is a key of both files", k.name)
		}
		file := t.TempDir() + "/config.yaml"
		if err := os.WriteFile(file, []byte(k.name+": {}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(config.LoadOptions{File: file})
		if hint := mayfly.HintOf(err); !strings.Contains(hint, Manifest) {
			t.Errorf("%s in the config file: %v, hint %q", k.name, err, hint)
		}
	}
}
