package cli

import (
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/config"
)

func TestHelpGroupsEveryFlag(t *testing.T) {
	t.Parallel()
	alone := map[string]bool{"data": true, "labels": true, "drain": true, "dev": true}
	for _, k := range config.Keys() {
		if first := groupOf(k.Name) == flagGroups[0].title; first != alone[k.Name] {
			t.Errorf("flag %s stands under %q", k.Name, groupOf(k.Name))
		}
	}
}

func TestHelpFitsItsWidth(t *testing.T) {
	t.Parallel()
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range commandNames(parser.Model.Node) {
		_, help, _ := mayflyWith(name, "--help")
		for line := range strings.Lines(help) {
			if n := len([]rune(line)) - 1; n > helpWidth+1 {
				t.Errorf("mayfly %s --help has a line of %d: %s", name, n, line)
			}
		}
		if !strings.HasPrefix(help, "Usage: mayfly ") {
			t.Errorf("mayfly %s --help begins with %.30q", name, help)
		}
	}
}

func TestWrapBreaksBetweenWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"short", "one two", "one two"},
		{"exact", "one three", "one three"},
		{"long", "one three five", "one three\n  five"},
		{"a word that fits no line", "abcdefghijkl one", "abcdefghijkl\n  one"},
		{"spaces", "  one   two ", "one two"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := wrap(tt.text, 9, "  "); got != tt.want {
				t.Errorf("wrap = %q, want %q", got, tt.want)
			}
		})
	}
}
