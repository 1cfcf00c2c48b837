package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/nearest"
)

// The keys of attributes. The list is closed, so that a thing has the same name in every
// line.
const (
	KeyPart     = "part"     // of the node, such as gateway
	KeyNode     = "node"     // id of a node
	KeyFunction = "function" // name
	KeyRevision = "revision" // number
	KeyInstance = "instance" // id
	KeyService  = "service"  // name
	KeyCall     = "call"     // id
	KeyJob      = "job"      // id
	KeyRoute    = "route"    // name
	KeySchedule = "schedule" // name
	KeySubject  = "subject"
	KeyAddr     = "addr"   // host:port or URL
	KeyFile     = "file"   // path
	KeyStatus   = "status" // HTTP status
	KeyErr      = "err"
	KeyTook     = "duration" // in JSON duration_ms
)

// NewLog returns a logger that writes records of level (debug, info, warn or
// error) and above to w, one line each. format is text, json or auto, which is
// text if w is a terminal. Errors have code Invalid.
func NewLog(w io.Writer, format, level string, terminal bool) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	least, ok := levels[level]
	if !ok {
		return nil, unknown("log level", level, "debug", "info", "warn", "error")
	}
	switch {
	case format == "text" || format == "auto" && terminal:
		return slog.New(newTextHandler(w, least)), nil
	case format == "json" || format == "auto":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: inMilliseconds})), nil
	default:
		return nil, unknown("log format", format, "auto", "text", "json")
	}
}

// msSuffix ends the key of a duration in JSON, where it is a number of milliseconds.
const msSuffix = "_ms"

// inMilliseconds gives durations a unit.
func inMilliseconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key+msSuffix, milliseconds(a.Value.Duration()))
	}
	return a
}

// milliseconds returns d to the microsecond.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)/time.Microsecond) / 1000
}

func unknown(what, word string, known ...string) error {
	return mayfly.Errorf(mayfly.Invalid, "unknown %s %q", what, word).
		WithHint("%s", nearest.Hint(word, known, "use one of: "+strings.Join(known, ", ")))
}

// A textHandler writes lines to be read live on a terminal, which need no date:
//
//	15:04:05 INFO  service found part=gateway service=worker
//
// The attributes are formatted by the standard library's handler.
type textHandler struct {
	*textOutput
	attrs slog.Handler // writes to textOutput.line
}

// A textOutput is shared by a handler and those derived from it.
type textOutput struct {
	level slog.Level

	mu   sync.Mutex // guards what follows
	w    io.Writer
	line bytes.Buffer
}

func newTextHandler(w io.Writer, level slog.Level) *textHandler {
	out := &textOutput{w: w, level: level}
	attrs := slog.NewTextHandler(&out.line, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{} // written by Handle
			}
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.StringValue(a.Value.Duration().Round(time.Microsecond).String())
			}
			return a
		},
	})
	return &textHandler{textOutput: out, attrs: attrs}
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line.Reset()
	if !r.Time.IsZero() {
		h.line.WriteString(r.Time.Format("15:04:05 "))
	}
	level := r.Level.String()
	h.line.WriteString(level)
	h.line.WriteString(strings.Repeat(" ", max(1, 6-len(level))))
	if strings.ContainsFunc(r.Message, func(c rune) bool { return !unicode.IsPrint(c) }) {
		h.line.WriteString(strconv.Quote(r.Message))
	} else {
		h.line.WriteString(r.Message)
	}
	h.line.WriteByte(' ')
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	// Without attributes the line ends in a space and a line feed.
	line := bytes.TrimRight(h.line.Bytes(), " \n")
	_, err := h.w.Write(append(line, '\n'))
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &textHandler{textOutput: h.textOutput, attrs: h.attrs.WithAttrs(attrs)}
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{textOutput: h.textOutput, attrs: h.attrs.WithGroup(name)}
}
