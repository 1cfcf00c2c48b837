package project_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/mayfly-run/mayfly/internal/project"
)

// The first example of docs/manifest.md must be one.
func TestManualsExampleIsAProject(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(manual)
	if example == nil {
		t.Fatal("docs/manifest.md has no example")
	}
	folder := t.TempDir()
	for name, text := range map[string][]byte{
		"mayfly.yaml": example[1], "schemas/order.json": []byte(`{"type":"object"}`),
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := project.Open(folder, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "shop" || len(p.Routes) != 4 {
		t.Errorf("project %q with %d routes, want shop with 4", p.Name, len(p.Routes))
	}
}
