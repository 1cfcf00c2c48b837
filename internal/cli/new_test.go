package cli

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// What people get first must pass the test that it comes with, and that test must be
// able to fail.
func TestNewProjectsPassTheirOwnTests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lang, file string
		tool       string
		missing    func() error
		test       []string
	}{
		{"js", "handler.js", "node", lacks("node"), []string{"node", "--test"}},
		{"ts", "handler.ts", "typescript", stripsTypes, []string{"node", "--test", "handler.test.ts"}},
		{"py", "handler.py", "python3", lacks("python3"), []string{"python3", "-m", "unittest"}},
		{"go", "handler.go", "go", lacks("go"), []string{"go", "test", "./..."}},
		{"sh", "handler.sh", "sh", lacks("sh"), []string{"sh", "test.sh"}},
	} {
		t.Run(tt.lang, func(t *testing.T) {
			t.Parallel()
			natstest.Require(t, tt.tool, tt.missing(), "install it, see CONTRIBUTING.md")
			folder := filepath.Join(t.TempDir(), "hello")
			if code, _, stderr := mayflyWith("new", folder, "--lang", tt.lang); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			run := func() ([]byte, error) {
				cmd := exec.CommandContext(t.Context(), tt.test[0], tt.test[1:]...)
				cmd.Dir = folder
				return cmd.CombinedOutput()
			}
			if out, err := run(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			file := filepath.Join(folder, tt.file)
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			spoilt := strings.Replace(string(code), "Hello, ", "Goodbye, ", 1)
			if err := os.WriteFile(file, []byte(spoilt), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := run(); err == nil {
				t.Errorf("the test sees no difference: %s", out)
			}
		})
	}
}

func lacks(tool string) func() error {
	return func() error {
		_, err := exec.LookPath(tool)
		return err
	}
}

// stripsTypes returns an error where there is no Node.js that runs TypeScript by
// itself, as it does from 22.18 on.
func stripsTypes() error {
	out, err := exec.Command("node", "-p", "Boolean(process.features.typescript)").Output()
	if err == nil && strings.TrimSpace(string(out)) != "true" {
		return errors.New("this Node.js does not run TypeScript by itself")
	}
	return err
}
