package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/nearest"
)

// A grammar is the command line: each field a verb, in the order of the help.
type grammar struct {
	Help helpFlag `short:"h" help:"Show help."`

	New   newVerb `cmd:"" group:"Run" usage:"NAME --lang LANGUAGE" help:"Create a small runnable project."`
	Up    up      `cmd:"" group:"Run" usage:"[PATH...]" help:"Run a node, with the projects at PATH if given."`
	Ready ready   `cmd:"" group:"Run" usage:"[URL]" help:"Check that a node is ready; the exit code says."`

	Deploy   deployVerb `cmd:"" group:"Deploy" usage:"[PATH...]" help:"Deploy the functions and services at PATH to all nodes."`
	History  history    `cmd:"" group:"Deploy" usage:"NAME" help:"List the revisions of a function or service."`
	Rollback rollback   `cmd:"" group:"Deploy" usage:"NAME[@REVISION]" help:"Roll back to an earlier revision."`
	Remove   remove     `cmd:"" aliases:"rm" group:"Deploy" usage:"NAME..." help:"Remove functions and services."`
	Scale    scale      `cmd:"" group:"Deploy" usage:"FUNCTION [--min N] [--max N];SERVICE N" help:"Change the number of instances, until the next deploy."`
	Restart  restart    `cmd:"" group:"Deploy" usage:"NAME" help:"Restart the instances of a function or service, one by one."`
	Secret   secret     `cmd:"" group:"Deploy" usage:"set NAME;ls;rm NAME..." help:"Manage secrets that functions receive."`
	Manifest manifest   `cmd:"" group:"Deploy" usage:"[PATH];--schema" help:"Check a mayfly.yaml and show what it lists."`

	Call callVerb `cmd:"" group:"Call" usage:"NAME [BODY];SERVICE ENDPOINT [BODY];--subject SUBJECT [BODY]" help:"Call a function, an endpoint or a subject and print the reply."`

	Logs   logsVerb   `cmd:"" group:"Inspect" usage:"[NAME]" help:"Show logs."`
	List   list       `cmd:"" aliases:"ls" group:"Inspect" help:"List functions and services."`
	Info   info       `cmd:"" group:"Inspect" usage:"NAME" help:"Show a function or service in detail."`
	Stats  stats      `cmd:"" group:"Inspect" usage:"[NAME]" help:"Show requests, errors and latency of each endpoint."`
	Ping   ping       `cmd:"" group:"Inspect" usage:"[NAME]" help:"Ping every instance."`
	Nodes  nodesVerb  `cmd:"" group:"Inspect" help:"List nodes."`
	Routes routes     `cmd:"" group:"Inspect" help:"List HTTP routes."`
	Doctor doctor     `cmd:"" group:"Inspect" usage:"[--accept]" help:"Check that the store is whole and the nodes are ready."`
	Config configVerb `cmd:"" group:"Inspect" help:"Show a node's settings and where each comes from."`

	Completion completion `cmd:"" group:"More" usage:"bash|zsh|fish" help:"Print a shell completion script."`
	Version    versioning `cmd:"" group:"More" help:"Show version information."`
}

// reserve is never touched, so it uses no memory. The collector counts it as live and
// first runs when the heap has grown by as much. A gateway holds little and makes much
// garbage: with Go's default a fifth of its time goes into collecting it. Most other
// commands end before there is anything to collect.
const reserve = 32 << 20

// Main runs the command that args name, without the program's own name, and returns the
// exit code: that of the error's mayfly.Code, or 2 for an invalid command line. env holds
// NAME=value. A command that needs an orderly end handles SIGINT and SIGTERM itself.
func Main(args, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	untouched := make([]byte, reserve)
	defer runtime.KeepAlive(untouched)
	p := &process{env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	err := run(context.Background(), p, args)
	if err == nil {
		return 0
	}
	p.report(err)
	return mayfly.CodeOf(err).Exit()
}

// run parses and executes args.
func run(ctx context.Context, p *process, args []string) error {
	if len(args) == 0 {
		_, err := io.WriteString(p.stdout, overview)
		return err
	}
	if args[0] == reaperName {
		return p.reaper()
	}
	switch args[0] {
	case "help":
		args = append(slices.Clone(args[1:]), "--help")
	case "--version":
		args = append([]string{"version"}, args[1:]...)
	}
	parser, err := newParser()
	if err != nil {
		return mayfly.Errorf(mayfly.Internal, "read the commands: %w", err)
	}
	parsed, err := parser.Parse(args)
	if e, ok := errors.AsType[*kong.ParseError](err); ok && errors.Is(err, errHelp) {
		return printHelp(p.stdout, e.Context)
	}
	if err != nil {
		return usageError(parser, err)
	}
	for _, path := range parsed.Path {
		if path.Flag != nil {
			p.set = append(p.set, path.Flag.Name)
		}
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(p, parser.Model); err != nil {
		return withHelp(err, parsed.Selected())
	}
	return nil
}

func newParser() (*kong.Kong, error) {
	// Our own help: kong's has one column for all flags, and exits.
	return kong.New(&grammar{}, kong.Name("mayfly"), kong.NoDefaultHelp(), kong.Exit(func(int) {}))
}

// errHelp stops the parser when help is requested.
var errHelp = errors.New("help wanted")

// A helpFlag stops the parser before it reports missing arguments.
type helpFlag bool

// BeforeReset is called by kong when the flag was given.
func (helpFlag) BeforeReset() error { return errHelp }

// mostGuesses limits the suggestions for a mistyped word; the help has the full list.
const mostGuesses = 3

// noDuration is part of the parser's error for an invalid duration.
const noDuration = ": expected duration but got "

// usageError converts an error of the parser.
func usageError(parser *kong.Kong, err error) error {
	e, ok := errors.AsType[*kong.ParseError](err)
	if !ok {
		return mayfly.Errorf(mayfly.Invalid, "%s", err).WithHint("see mayfly --help")
	}
	text, guess, guessed := strings.Cut(err.Error(), ", did you mean ")
	var command *kong.Node
	if e.Context != nil {
		command = e.Context.Selected()
	}
	word, unexpected := strings.CutPrefix(text, "unexpected argument ")
	switch {
	case unexpected && command == nil:
		unknown := mayfly.Errorf(mayfly.Invalid, "unknown command %q", mayfly.Clip(word))
		if near, ok := nearest.To(word, commandNames(parser.Model.Node)); ok {
			return unknown.WithHint("did you mean mayfly %s?", near)
		}
		return unknown.WithHint("run mayfly --help to list the commands")
	case guessed && strings.Count(guess, ",") < mostGuesses:
		return mayfly.Errorf(mayfly.Invalid, "%s", text).WithHint("did you mean %s", strings.ReplaceAll(guess, `"`, ""))
	case strings.HasPrefix(text, `expected "<`):
		name, _, _ := strings.Cut(text[len(`expected "<`):], ">")
		return withHelp(mayfly.Errorf(mayfly.Invalid, "%s is missing", strings.ToUpper(name)), command)
	case strings.HasPrefix(text, "expected one of "):
		return mayfly.Errorf(mayfly.Invalid, "no command given").WithHint("run mayfly --help to list the commands")
	case strings.Contains(text, noDuration):
		flag, value, _ := strings.Cut(text, noDuration)
		value, _, _ = strings.Cut(value, ": time: ")
		return mayfly.Errorf(mayfly.Invalid, "%s: %s is not a duration", flag, value).WithHint("try 500ms, 30s or 1h30m")
	default:
		// One of our own errors, from a value that parses itself, keeps its hint.
		if name, rest, ok := strings.Cut(text, "> must be one of "); ok {
			text = strings.ToUpper(name[1:]) + " must be one of " + rest // its name in the help
		}
		wrong := mayfly.Errorf(mayfly.Invalid, "%s", text)
		if hint := mayfly.HintOf(err); hint != "" {
			return wrong.WithHint("%s", hint)
		}
		return withHelp(wrong, command)
	}
}

func commandNames(root *kong.Node) []string {
	names := []string{"help"}
	for _, c := range root.Children {
		names = append(append(names, c.Name), c.Aliases...)
	}
	return names
}

// withHelp adds a hint to the help if the error has none.
func withHelp(err error, command *kong.Node) error {
	if mayfly.HintOf(err) != "" {
		return err
	}
	hint := "see mayfly --help"
	if command != nil {
		hint = "see mayfly " + command.Name + " --help"
	}
	return &mayfly.Error{Code: mayfly.CodeOf(err), Message: err.Error(), Hint: hint, Err: err}
}

// report prints an error in the format of all commands. Its text may come from a
// service or a user.
func (p *process) report(err error) {
	fmt.Fprintf(p.stderr, "mayfly: %s\n", plain(err.Error()))
	p.explain(err)
}

// explain prints the function's own output, such as a stack trace, if it is the cause,
// and the hint.
func (p *process) explain(err error) {
	trace, _ := errors.AsType[mayfly.Trace](err)
	for line := range strings.Lines(string(trace)) {
		fmt.Fprintln(p.stderr, strings.TrimRight("  "+indented(line), " "))
	}
	p.hint(err)
}

func (p *process) hint(err error) {
	if hint := mayfly.HintOf(err); hint != "" {
		p.note("hint: %s", hint)
	}
}

// indented is plain, but keeps leading tabs and spaces.
func indented(line string) string {
	text := strings.TrimLeft(line, " \t")
	return strings.ReplaceAll(line[:len(line)-len(text)], "\t", "    ") + strings.TrimRight(plain(text), " ")
}
