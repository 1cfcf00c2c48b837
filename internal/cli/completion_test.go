package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// Bash itself judges: the script is one, and answers what a person would press the
// tab key for.
func TestBashCompletes(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	natstest.Require(t, "bash", err, "install bash")
	_, script, stderr := mayflyWith("completion", "bash")
	if stderr != "" {
		t.Fatal(stderr)
	}
	for _, tt := range []struct{ name, words, want string }{
		{"a command", "mayfly st", "stats"},
		{"all commands", "mayfly ''", "new up ready deploy history rollback remove scale restart secret manifest call logs list info stats ping nodes routes doctor config completion version"},
		{"a flag", "mayfly up --gateway.ad", "--gateway.addr"},
		{"a flag of an alias", "mayfly ls --js", "--json"},
		{"values of a flag", "mayfly up --log.format ''", "auto text json"},
		{"values of an argument", "mayfly completion z", "zsh"},
		{"a path is bash's own", "mayfly up exam", ""},
		{"a name, but none that a shell would obey", "mayfly info ''", "hello Words"},
		{"a name to call", "mayfly call W", "Words"},
		{"a new name is nobody's", "mayfly new h", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), bash, "--norc", "-c", script+`
				mayfly() { printf '%s  x\n' NAME hello Words '$(touch${IFS}x)' '../x' '*'; }
				COMP_WORDS=(`+tt.words+`)
				COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
				_mayfly
				echo "${COMPREPLY[*]}"`).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("completion of %s = %q (%v), want %q", tt.words, got, err, tt.want)
			}
		})
	}
}

// The other shells may not be here: every command and flag must be in their scripts,
// and no quote may be left open.
func TestScriptsNameEveryCommandAndFlag(t *testing.T) {
	t.Parallel()
	parser, err := newParser()
	if err != nil {
		t.Fatal(err)
	}
	for shell, flag := range map[string]string{"zsh": "--%[", "fish": " -l % "} {
		_, script, _ := mayflyWith("completion", shell)
		for n, line := range strings.Split(script, "\n") {
			if strings.Count(line, "'")%2 != 0 {
				t.Errorf("%s, line %d has an open quote: %s", shell, n+1, line)
			}
		}
		for _, c := range parser.Model.Children {
			if !strings.Contains(script, c.Name) {
				t.Errorf("%s lacks command %s", shell, c.Name)
			}
			for _, f := range allFlags(c) {
				if want := strings.Replace(flag, "%", f.Name, 1); !strings.Contains(script, want) {
					t.Errorf("%s lacks flag %s of %s", shell, f.Name, c.Name)
				}
			}
		}
	}
}
