package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/mayfly-run/mayfly"
)

// mayflyWith runs a command as main would, in an empty environment.
func mayflyWith(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, nil, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func TestEveryErrorHasAHint(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // stderr holds it
	}{
		{"unknown command", []string{"lsit"}, 2, "did you mean mayfly list?"},
		{"unknown command unlike any", []string{"x\x1b[2Jy"}, 2, "run mayfly --help to list the commands"},
		{"flag before any command", []string{"--json"}, 2, "unknown flag --json"},
		{"only a dash", []string{"-"}, 2, `unknown command "-"`},
		{"only two dashes", []string{"--"}, 2, "no command given"},
		{"no command but a flag's value", []string{"--help=maybe"}, 2, "hint: "},
		{"unknown flag", []string{"up", "--gateway.adr", "x"}, 2, "did you mean --gateway.addr?"},
		{"missing argument", []string{"info"}, 2, "NAME is missing"},
		{"too many arguments", []string{"ping", "a", "b"}, 2, "unexpected argument b"},
		{"not a duration", []string{"call", "x", "--timeout", "5"}, 2, `--timeout: "5" is not a duration`},
		{"the beginning of many flags", []string{"up", "--gateway", "x"}, 2, "hint: see mayfly up --help\n"},
		{"none of many", []string{"remove"}, 2, "mayfly: NAME is missing\n"},
		{"no such shell", []string{"completion", "tcsh"}, 2, `SHELL must be one of "bash"`},
		{"not a size", []string{"up", "--bus.store", "many"}, 2, "try 64MiB"},
		{"none of the values", []string{"up", "--log.level", "loud"}, 2, `must be one of "debug"`},
		{"an invalid name", []string{"info", "a.b"}, 2, "is not a valid name"},
		{"a name with a line break", []string{"ping", "a\nb"}, 2, `"a\nb" is not a valid name`},
		{"a bad subject", []string{"call", "-s", "$SYS.x"}, 2, "NATS reserves"},
		{"a header with a line break", []string{"call", "x", "-H", "A: b\r\nC: d"}, 2, "line break"},
		{"no time", []string{"call", "x", "--timeout", "0s"}, 2, "must be positive"},
		{"no home", []string{"up", "--gateway.addr", "127.0.0.1:0"}, 2, "set one of them, or pass --data FOLDER"},
		{"no node there", []string{"list", "--data", "nowhere"}, 6, "mayfly up --data nowhere"},
		{"a name that a function cannot have", []string{"new", "Hello_World"}, 2, "use a-z, 0-9"},
		{"no language", []string{"new", "x", "--lang", "cobol"}, 2, `must be one of "js"`},
		{"a secret's value as an argument", []string{"secret", "set", "key", "hunter2"}, 2, "mayfly secret set NAME < FILE"},
		{"no secret's name", []string{"secret", "rm"}, 2, "mayfly secret rm NAME"},
		{"an invalid name of a secret", []string{"secret", "set", "API_KEY"}, 2, "use a-z, 0-9"},
		{"no such action", []string{"secret", "get", "key"}, 2, "must be one of"},
		{"scale to nothing", []string{"scale", "hello"}, 2, "mayfly scale hello --min N --max N"},
		{"scale to two things", []string{"scale", "hello", "3", "--max", "2"}, 2, "or --min and --max for a function"},
		{"an invalid revision", []string{"rollback", "hello@new"}, 2, "run mayfly history hello to see them"},
		{"logs of the future", []string{"logs", "--since=-5m"}, 2, "try --since 10m"},
		{"a schema of a path", []string{"manifest", "--schema", "."}, 2, "mayfly manifest --schema"},
		{"nothing to deploy", []string{"deploy", "nowhere"}, 4, "no file or folder nowhere"},
		{"half a login", []string{"list", "--user", "x"}, 2, "set both or neither"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := mayflyWith(tt.args...)
			if code != tt.code || stdout != "" {
				t.Errorf("exit code %d and output %q, want %d and none", code, stdout, tt.code)
			}
			if !strings.HasPrefix(stderr, "mayfly: ") || !strings.Contains(stderr, "\nhint: ") || strings.Count(stderr, "\n") != 2 {
				t.Errorf("stderr is not a message and a hint: %q", stderr)
			}
			if !strings.Contains(stderr, tt.want) {
				t.Errorf("stderr %q lacks %q", stderr, tt.want)
			}
		})
	}
}

func TestReportIsOneLineForEach(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	p := &process{stderr: &stderr}
	p.report(mayfly.Errorf(mayfly.Internal, "two\nlines \x1b[31m\u202e").WithHint("and\r\nmore"))
	if got, want := stderr.String(), "mayfly: two lines \ufffd[31m\ufffd\nhint: and  more\n"; got != want {
		t.Errorf("report = %q, want %q", got, want)
	}
}

// No command line makes the parser or the help panic; what is wrong with one is
// said with a hint.
func FuzzCommandLine(f *testing.F) {
	for _, seed := range []string{
		"", "up", "up\n--gateway.addr=x\n.", "call\n-iHA: b\nx", "call\n-", "call\n--", "help\nup", "--help", "-h", "-", "--", "---", "-é",
		"list\n-wx", "up\n--drain", "up\n--bus.memory\n1TiB", "config\n--json=maybe", "completion\nzsh", "\x00", "--=\n=", "up\n--gateway.expose=a,b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parser, err := newParser()
		if err != nil {
			t.Fatal(err)
		}
		_, err = parser.Parse(strings.Split(text, "\n"))
		if err == nil {
			return
		}
		if e, ok := errors.AsType[*kong.ParseError](err); ok && errors.Is(err, errHelp) {
			var help bytes.Buffer
			if err := printHelp(&help, e.Context); err != nil || help.Len() == 0 {
				t.Fatalf("help of %q: %q, %v", text, help.String(), err)
			}
			return
		}
		if got := usageError(parser, err); mayfly.CodeOf(got) != mayfly.Invalid || mayfly.HintOf(got) == "" {
			t.Fatalf("%q: code %v, hint %q", text, mayfly.CodeOf(got), mayfly.HintOf(got))
		}
	})
}
