package cli

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/node"
)

// Functions come and go by the thousand, and are not counted as services.
func TestGreetingAndChangesAreOfServicesAlone(t *testing.T) {
	t.Parallel()
	function := mayfly.Service{Name: "hello", ID: "1", Version: "1.0.3", Endpoints: []mayfly.Endpoint{{Name: "call", Subject: "fn.hello"}}}
	words := mayfly.Service{Name: "Words", ID: "2", Version: "1.0.0", Endpoints: []mayfly.Endpoint{{Name: "echo", Subject: "Words.echo"}}}
	var out bytes.Buffer
	p := &process{stdout: &out}
	say := aside{p: p, person: true}
	say.change(node.Change{Service: function})
	say.change(node.Change{Service: words})
	say.change(node.Change{Service: function, Gone: true})
	if got, want := out.String(), "+ Words 1.0.0 (2) Words.echo\n"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	out.Reset()
	p.greet(node.Status{Services: []mayfly.Service{function, words}, Expose: []string{"*"}})
	if !strings.Contains(out.String(), "  services  1 instance: mayfly list\n") {
		t.Errorf("greeting:\n%s", &out)
	}
	out.Reset()
	other := mayfly.Service{Name: "Orders", ID: "3"}
	p.greet(node.Status{Services: []mayfly.Service{words, function, other, words}})
	if want := "2 services found, none exposed: --gateway.expose 'Orders,Words' or '*'\n"; !strings.Contains(out.String(), want) {
		t.Errorf("greeting:\n%s", &out)
	}
}

// A log collector reads line by line: none may be in another format.
func TestLogOfANodeHasOnlyLogLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	say := aside{p: &process{stdout: &out, stderr: &out}, log: slog.New(slog.NewJSONHandler(&out, nil))}
	say.change(node.Change{Service: mayfly.Service{Name: "Words", ID: "2", Version: "1.0.0"}})
	say.ready(node.Status{Gateway: "http://localhost:8080"})
	output, err := outputTo(&out, config.Config{Log: config.Log{Format: "json"}}, false, false)
	if err != nil {
		t.Fatal(err)
	}
	output(mayfly.Line{Function: "hello", Source: mayfly.Stdout, Text: "fine"})
	output(mayfly.Line{Function: "hello", Source: mayfly.Stderr, Text: "odd"})
	var said []string
	for line := range strings.Lines(out.String()) {
		var read struct{ Level, Msg, Text, Gateway, Service string }
		if err := json.Unmarshal([]byte(line), &read); err != nil {
			t.Errorf("%v in %q", err, line)
		}
		said = append(said, strings.TrimRight(strings.Join([]string{read.Level, read.Msg, read.Text, read.Gateway + read.Service}, " "), " "))
	}
	want := []string{"INFO service found  Words", "INFO node ready  http://localhost:8080", "INFO output fine", "WARN output odd"}
	if !slices.Equal(said, want) {
		t.Errorf("said %q, want %q", said, want)
	}
}
