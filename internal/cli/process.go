package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/mayfly-run/mayfly/internal/config"
	"golang.org/x/term"
)

// A process is what a command may touch of the world.
type process struct {
	env            []string // NAME=value
	stdin          io.Reader
	stdout, stderr io.Writer
	set            []string // flags given on the command line
}

// lookup returns an environment variable.
func (p *process) lookup(name string) (string, bool) { return config.Lookup(p.env)(name) }

// load merges the command line with the other sources.
func (p *process) load(flags config.Config, file string) (config.Loaded, error) {
	o := config.LoadOptions{Flags: flags, Env: p.env, File: file}
	for _, k := range config.Keys() {
		if slices.Contains(p.set, k.Name) {
			o.Set = append(o.Set, k.Name)
		}
	}
	return config.Load(o)
}

// note prints a message that is not a result.
func (p *process) note(format string, args ...any) {
	fmt.Fprintf(p.stderr, "%s\n", plain(fmt.Sprintf(format, args...)))
}

// writeJSON prints a result for programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// tilde shortens a path in the user's home.
func (p *process) tilde(path string) string {
	home, _ := p.lookup("HOME")
	if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(home, "/")+"/"); ok && home != "" {
		return "~/" + rest
	}
	return path
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. A second one
// kills the process, as by default.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
