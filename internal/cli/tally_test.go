package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/session"
)

// A thousand first builds are no thousand lines; those after them are told one by one.
func TestManyFirstBuildsAreFewLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		say := aside{p: &process{stderr: &out}, person: true}
		first := newTally(say, 1001, func(name mayfly.Name) bool { return name == "f7" })
		build := func(name, kind string, err error) bool {
			return first.takes(session.Event{Name: name, Kind: kind, Err: err})
		}
		if !first.takes(session.Event{Name: "f0", Kind: "function", Step: "npm ci"}) {
			t.Error("a step is told")
		}
		for i := range 1000 {
			time.Sleep(25 * time.Millisecond)
			if !build(fmt.Sprint("f", i), "function", nil) {
				t.Fatal("a build is told")
			}
		}
		build("worker", "service", nil)
		if broken := errors.New("broken"); build("f1", "function", broken) || build("f2", "function", broken) {
			t.Error("a failure is not told")
		}
		if !build("f2", "function", nil) { // it is mended meanwhile
			t.Error("a build is told")
		}
		if first.takes(session.Event{Name: "shop", Kind: "project", Err: errors.New("no manifest")}) {
			t.Error("what is wrong with the project is not told")
		}
		first.end(true)
		first.end(true)
		want := "built 400 of 1001…\nbuilt 800 of 1001…\n999 functions and 1 service are live, 1 failed (25s)\n" +
			"note: also deployed: f7; NATS clients and other nodes keep calling those revisions\n"
		if got := out.String(); got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
		if build("f1", "function", nil) {
			t.Error("a build after the first is not told")
		}
	})
}

func TestFewFirstBuildsAreToldOneByOne(t *testing.T) {
	t.Parallel()
	for _, say := range []aside{{person: true}, {}} {
		units := map[bool]int{true: mostTold, false: 1000}[say.person] // a log has a line for each
		first := newTally(say, units, nil)
		if first.takes(session.Event{Name: "f", Kind: "function"}) {
			t.Errorf("a build of %d is not told", units)
		}
		first.end(true)
	}
}

// On a terminal the line changes, and stays below all others.
func TestStatusIsBelowWhatElseIsWritten(t *testing.T) {
	t.Parallel()
	var screen strings.Builder
	bottom := &status{w: &screen}
	p := bottom.beside(&process{stderr: &screen})
	first := newTally(aside{p: p, person: true, status: bottom}, 1000, func(mayfly.Name) bool { return false })
	p.note("before")
	first.takes(session.Event{Name: "a", Kind: "function"})
	p.note("hello | hi")
	first.takes(session.Event{Name: "b", Kind: "function"})
	first.end(false)
	p.note("stopping")
	want := "before\n" + clearLine + "built 1 of 1000…" + clearLine + "hello | hi\nbuilt 1 of 1000…" +
		clearLine + "built 2 of 1000…" + clearLine + "stopping\n"
	if got := screen.String(); got != want {
		t.Errorf("the terminal got %q, want %q", got, want)
	}
}
