package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

func TestLogChoosesItsFormat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, format string
		terminal     bool
		json         bool
	}{
		{"auto on a terminal", "auto", true, false},
		{"auto elsewhere", "auto", false, true},
		{"text anywhere", "text", false, false},
		{"json on a terminal", "json", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			newLog(t, &out, tt.format, "info", tt.terminal).Info("ready")
			if got := json.Valid(out.Bytes()); got != tt.json {
				t.Errorf("JSON is %v in %q", got, &out)
			}
		})
	}
}

func TestTextIsForPeople(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		log  func(*slog.Logger)
		want string
	}{
		{"a message alone", func(l *slog.Logger) { l.Info("ready") }, "INFO  ready"},
		{"attributes", func(l *slog.Logger) {
			l.With(telemetry.KeyPart, "gateway").Warn("call failed", telemetry.KeyErr, errors.New("no bus"), telemetry.KeyTook, 1234567*time.Nanosecond)
		}, `WARN  call failed part=gateway err="no bus" duration=1.235ms`},
		{"a group", func(l *slog.Logger) { l.WithGroup("g").With("a", 1).Error("bad", "msg", 2) }, "ERROR bad g.a=1 g.msg=2"},
		{"a level between", func(l *slog.Logger) { l.Log(t.Context(), slog.LevelError+2, "worse") }, "ERROR+2 worse"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			tt.log(newLog(t, &out, "text", "debug", true))
			if want := regexp.MustCompile(`^\d\d:\d\d:\d\d ` + regexp.QuoteMeta(tt.want) + "\n$"); !want.MatchString(out.String()) {
				t.Errorf("got %q, want the time and %q", &out, tt.want)
			}
		})
	}
}

func TestDurationsHaveAUnit(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	newLog(t, &out, "json", "info", false).Info("built", telemetry.KeyTook, 1234567*time.Nanosecond, "wait", 2*time.Second)
	if !strings.Contains(out.String(), `"duration_ms":1.235,"wait_ms":2000}`) {
		t.Errorf("got %s", &out)
	}
}

func TestLogLeavesOutWhatIsBelowItsLevel(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log := newLog(t, &out, format, "warn", false)
		log.With("a", 1).Info("quiet")
		if out.Len() > 0 {
			t.Errorf("%s: %q", format, &out)
		}
		if log.Warn("loud"); out.Len() == 0 {
			t.Errorf("%s: a warning is missing", format)
		}
	}
}

func TestLogKeepsARecordOnOneLine(t *testing.T) {
	t.Parallel()
	const evil = "x\n00:00:00 INFO  forged\x1b[2J\r"
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		newLog(t, &out, format, "info", false).With("a", evil).Info(evil, "err", errors.New(evil), "b", evil)
		if n := strings.Count(out.String(), "\n"); n != 1 || strings.ContainsAny(out.String(), "\r\x1b") {
			t.Errorf("%s: %d lines: %q", format, n, &out)
		}
	}
}

func TestLogLinesOfManyDoNotMix(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := newLog(t, &out, "text", "info", true)
	var all sync.WaitGroup
	for range 8 {
		part := log.With("part", "p")
		all.Go(func() {
			for range 100 {
				part.Info("called", "a", 1)
			}
		})
	}
	all.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 800 {
		t.Errorf("%d lines, want 800", len(lines))
	}
	for _, line := range lines {
		if !strings.HasSuffix(line, " INFO  called part=p a=1") {
			t.Fatalf("line %q", line)
		}
	}
}

func TestNewLogNamesTheNearestWord(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ format, level, want, hint string }{
		{"auto", "wran", `unknown log level "wran"`, "did you mean warn?"},
		{"auto", "loudest", `unknown log level "loudest"`, "use one of: debug, info, warn, error"},
		{"jsn", "info", `unknown log format "jsn"`, "did you mean json?"},
	} {
		_, err := telemetry.NewLog(&bytes.Buffer{}, tt.format, tt.level, false)
		if err == nil || err.Error() != tt.want || mayfly.HintOf(err) != tt.hint || mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("got %v (%s), want %s (%s)", err, mayfly.HintOf(err), tt.want, tt.hint)
		}
	}
}

func newLog(t *testing.T, out *bytes.Buffer, format, level string, terminal bool) *slog.Logger {
	t.Helper()
	log, err := telemetry.NewLog(out, format, level, terminal)
	if err != nil {
		t.Fatal(err)
	}
	return log
}
