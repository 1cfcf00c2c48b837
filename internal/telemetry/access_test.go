package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"
	"unicode/utf8"
)

// slogLine is the line that slog makes of an exchange.
func slogLine(t *testing.T, format string, now time.Time, a Access) string {
	t.Helper()
	var out bytes.Buffer
	log, err := NewLog(&out, format, "info", false)
	if err != nil {
		t.Fatal(err)
	}
	r := slog.NewRecord(now, slog.LevelInfo, "call", 0)
	r.AddAttrs(
		slog.String("method", a.Method), slog.String("path", a.Path), slog.Int(KeyStatus, a.Status),
		slog.Duration(KeyTook, a.Took), slog.Int("bytes", a.Bytes), slog.String(KeyRoute, a.Route),
		slog.String(KeyCall, a.Call),
	)
	if a.Err != "" {
		r.AddAttrs(slog.String(KeyErr, a.Err))
	}
	if err := log.Handler().Handle(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func FuzzAccessLine(f *testing.F) {
	f.Add("GET", "/", "svc", "abc", "", 200, 5, int64(1_234_000))
	f.Add("POST", "/a%20b", "GET /orders/{id}", "", `no "route" for it`, 404, 0, int64(0))
	f.Add("", "/\"\\\n\r\t\x00\x1f\x7f", "a=b", "\u2028\u2029\u00a0\ufffd", "\xff\xc3(\xe2\x80", 0, -1, int64(90*time.Second))
	f.Add("é", "日本", "\u200b\U0001f600", "\b\f", "<>&'", 999, 1<<40, int64(-5_000))
	f.Fuzz(func(t *testing.T, method, path, route, call, err string, status, size int, took int64) {
		a := Access{
			Method: method, Path: path, Route: route, Call: call, Err: err,
			Status: status, Bytes: size, Took: time.Duration(took).Round(time.Microsecond),
		}
		now := time.Now()
		for format, text := range map[string]bool{"json": false, "text": true} {
			want := slogLine(t, format, now, a)
			if got := string(AccessLog{text: text}.append(nil, now, a)); got != want {
				t.Errorf("%s:\n got %q\nwant %q", format, got, want)
			}
		}
		var read struct{ Method, Path, Route, Call, Err string }
		if err := json.Unmarshal(appendJSONLine(nil, now, a), &read); err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(path) && read.Path != path || utf8.ValidString(a.Err) && read.Err != a.Err {
			t.Errorf("read back as %+v, want %+v", read, a)
		}
	})
}

func TestAccessLinesHaveTheFormatOfTheLog(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, format string
		terminal     bool
		want         byte
	}{
		{"text", "text", false, '1'},
		{"auto on a terminal", "auto", true, '1'},
		{"auto elsewhere", "auto", false, '{'},
		{"json on a terminal", "json", true, '{'},
	} {
		w := &writes{}
		l := NewBatch(w)
		NewAccessLog(l, tt.format, tt.terminal).Log(Access{Method: "GET", Path: "/", Status: 200})
		l.flush()
		all := w.take()
		if len(all) != 1 || (all[0][0] == '{') != (tt.want == '{') {
			t.Errorf("%s: %q", tt.name, all)
		}
	}
}

func BenchmarkAccessLine(b *testing.B) {
	l := NewBatch(&writes{})
	lines := NewAccessLog(l, "json", false)
	a := Access{Method: "POST", Path: "/svc/bench/echo", Status: 200, Took: 1234 * time.Microsecond, Bytes: 128, Route: "svc", Call: "0123456789abcdef0123456789abcdef"}
	b.ReportAllocs()
	for b.Loop() {
		lines.Log(a)
		l.lines = l.lines[:0]
	}
}
