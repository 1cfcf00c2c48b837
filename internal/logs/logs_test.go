package logs_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/logs"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, b *bus.Bus) *logs.Logs {
	t.Helper()
	l, err := logs.Open(t.Context(), b, logs.Options{})
	if err != nil {
		t.Fatalf("open logs: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// read returns the texts of the lines that match.
func read(t *testing.T, l *logs.Logs, q logs.Query) []string {
	t.Helper()
	var texts []string
	err := l.Read(t.Context(), q, func(line mayfly.Line) error {
		texts = append(texts, line.Text)
		return nil
	})
	if err != nil {
		t.Fatalf("read %+v: %v", q, err)
	}
	return texts
}

// follow gives the texts of lines as they come, until the test ends.
func follow(t *testing.T, l *logs.Logs, q logs.Query) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	texts, ended := make(chan string, 100_000), make(chan error, 1)
	q.Follow = true
	go func() {
		ended <- l.Read(ctx, q, func(line mayfly.Line) error {
			texts <- line.Text
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("follow ended with %v", err)
		}
	})
	return texts
}

// want waits for a line that holds the text.
func want(t *testing.T, texts <-chan string, text string) string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case got := <-texts:
			if strings.Contains(got, text) {
				return got
			}
		case <-late:
			t.Fatalf("no line %q in time", text)
		}
	}
}

func TestLinesComeBack(t *testing.T) {
	t.Parallel()
	l := open(t, natstest.New(t))
	now := time.Now()
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	for _, line := range []mayfly.Line{
		{Time: at(50 * time.Second), Function: "hello", Revision: 1, Instance: "a", Source: mayfly.System, Text: "started"},
		{Time: at(40 * time.Second), Function: "hello", Revision: 1, Instance: "a", Call: "c1", Source: mayfly.Stdout, Text: "one"},
		{Time: at(30 * time.Second), Function: "hello", Revision: 1, Instance: "a", Call: "c2", Source: mayfly.Stderr, Text: "two"},
		{Time: at(20 * time.Second), Function: "HackerNews", Instance: "b", Source: mayfly.Stdout, Text: "fetched"},
		{Time: at(10 * time.Second), Function: "hello-2", Instance: "c", Call: "c1", Source: mayfly.Stdout, Text: "another"},
	} {
		l.Append(line)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		query logs.Query
		want  []string
	}{
		{"all", logs.Query{}, []string{"started", "one", "two", "fetched", "another"}},
		{"of a function", logs.Query{Function: "hello"}, []string{"started", "one", "two"}},
		{"of a service", logs.Query{Function: "HackerNews"}, []string{"fetched"}},
		{"of nobody", logs.Query{Function: "nobody"}, nil},
		{"of a name that is none", logs.Query{Function: ">"}, nil},
		{"of a call", logs.Query{Call: "c1"}, []string{"one", "another"}},
		{"of a call in a function", logs.Query{Call: "c1", Function: "hello"}, []string{"one"}},
		{"since", logs.Query{Since: at(35 * time.Second)}, []string{"two", "fetched", "another"}},
		{"since the future", logs.Query{Since: now.Add(time.Hour)}, nil},
		{"the last", logs.Query{Last: 2}, []string{"fetched", "another"}},
		{"the last of a function", logs.Query{Last: 1, Function: "hello"}, []string{"two"}},
		{"the last, more than there are", logs.Query{Last: 99, Since: at(45 * time.Second)}, []string{"one", "two", "fetched", "another"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := read(t, l, tt.query); !cmp.Equal(got, tt.want) {
				t.Errorf("read %q, want %q", got, tt.want)
			}
		})
	}
	if s := l.Stats(); s != (logs.Stats{Lines: 5}) {
		t.Errorf("stats = %+v", s)
	}
	l.Append(mayfly.Line{Function: "hello"}) // too late, and no harm
	if s := l.Stats(); s.Dropped != 1 {
		t.Errorf("stats = %+v", s)
	}
	no := errors.New("no more")
	if err := l.Read(t.Context(), logs.Query{}, func(mayfly.Line) error { return no }); err != no {
		t.Errorf("read ended with %v, not with what its function said", err)
	}
	for _, last := range []int{-1, logs.MaxLast + 1} {
		if err := l.Read(t.Context(), logs.Query{Last: last}, nil); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("last %d: %v", last, err)
		}
	}
}

func TestCloseStoresTheRest(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	l := open(t, b)
	const many = 5_000
	for i := range many {
		l.Append(mayfly.Line{Time: time.Now(), Function: fmt.Sprint("f", i%50), Instance: "a", Text: fmt.Sprint(i)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	texts := read(t, l, logs.Query{})
	slices.Sort(texts)
	if texts = slices.Compact(texts); len(texts) != many {
		t.Errorf("%d of %d lines are there", len(texts), many)
	}
}

func TestFollowTellsTheLastAndThenTheNext(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	l := open(t, b)
	before := follow(t, l, logs.Query{Function: "hello"}) // nothing is there yet
	l.Append(mayfly.Line{Time: time.Now(), Function: "hello", Text: "first"})
	want(t, before, "first")
	after := follow(t, l, logs.Query{Function: "hello", Last: 1})
	want(t, after, "first")
	l.Append(mayfly.Line{Time: time.Now(), Function: "other", Text: "nothing to do with it"})
	l.Append(mayfly.Line{Time: time.Now(), Function: "hello", Text: "second"})
	for _, texts := range []<-chan string{before, after} {
		if got := <-texts; got != "second" {
			t.Errorf("after the first came %q", got)
		}
	}
}

// interruption is a server of its own process that goes and comes back.
type interruption struct {
	t      *testing.T
	store  string
	addr   string
	server *bus.Bus
}

func (i *interruption) begin() {
	i.t.Helper()
	if err := i.server.Close(); err != nil {
		i.t.Fatal(err)
	}
}

func (i *interruption) end() {
	i.t.Helper()
	b, err := bus.Open(i.t.Context(), bus.Options{Server: &bus.ServerOptions{Store: i.store, Addr: i.addr, CoreKey: natstest.CoreKey}})
	if err != nil {
		i.t.Fatal(err)
	}
	i.server, i.addr = b, strings.TrimPrefix(b.URL(), "nats://")
	i.t.Cleanup(func() { b.Close() })
}

// remote returns a bus whose server can be interrupted.
func remote(t *testing.T) (*bus.Bus, *interruption) {
	t.Helper()
	i := &interruption{t: t, store: t.TempDir()}
	i.end()
	b, err := bus.Open(t.Context(), bus.Options{Remote: bus.Remote{URL: i.server.URL()}, Core: natstest.Core(i.server)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, i
}

func TestAppendNeverWaits(t *testing.T) {
	t.Parallel()
	b, server := remote(t)
	l := open(t, b)
	server.begin()
	// The server does not come back: who waits for it waits for ever.
	text := strings.Repeat("x", 1000)
	const many = 50_000 // more than there is room for, what is being sent included
	for i := range many {
		l.Append(mayfly.Line{Time: time.Now(), Function: fmt.Sprint("f", i%100), Instance: "a", Text: text})
	}
	if s := l.Stats(); s.Lines != many || s.Dropped == 0 {
		t.Errorf("stats = %+v", s)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := l.Stats(); s.Dropped != many {
		t.Errorf("stats = %+v after the close without a server", s)
	}
}

func TestDroppedLinesAreTold(t *testing.T) {
	t.Parallel()
	b, server := remote(t)
	l := open(t, b)
	server.begin()
	text := strings.Repeat("x", 10_000)
	for range 500 {
		l.Append(mayfly.Line{Time: time.Now(), Function: "hello", Revision: 3, Instance: "a", Text: text})
	}
	dropped := l.Stats().Dropped
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	server.end()
	texts := follow(t, l, logs.Query{Function: "hello"})
	got := want(t, texts, "lines of hello dropped here")
	if !strings.HasPrefix(got, fmt.Sprint(dropped, " ")) {
		t.Errorf("the log says %q, dropped were %d", got, dropped)
	}
}

// TestAFloodCostsLittleMemory is not parallel: it measures the whole process, with the
// embedded server, which holds a block of 8 MiB that it writes.
func TestAFloodCostsLittleMemory(t *testing.T) {
	l := open(t, natstest.New(t))
	inUse := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := inUse()
	flooding, stop := context.WithCancel(t.Context())
	defer stop()
	var writers sync.WaitGroup
	text := strings.Repeat("x", 80)
	for i := range 8 {
		writers.Go(func() {
			for flooding.Err() == nil {
				l.Append(mayfly.Line{Time: time.Now(), Function: "flood", Instance: strconv.Itoa(i), Text: text})
			}
		})
	}
	var most int64
	for start := time.Now(); time.Since(start) < 4*time.Second; {
		most = max(most, inUse()-before)
	}
	stop()
	writers.Wait()
	if s := l.Stats(); s.Dropped == 0 || s.Dropped == s.Lines {
		t.Errorf("of %d lines %d were dropped", s.Lines, s.Dropped)
	}
	t.Logf("%.1f MiB in use at most", float64(most)/(1<<20))
	if most > 32<<20 {
		t.Errorf("%d bytes more in use", most)
	}
}

func TestFollowGoesOnOverAnInterruption(t *testing.T) {
	t.Parallel()
	b, server := remote(t)
	l := open(t, b)
	texts := follow(t, l, logs.Query{Function: "hello"})
	say := func(text string) {
		l.Append(mayfly.Line{Time: time.Now(), Function: "hello", Instance: "a", Text: text})
	}
	next := func(text string) {
		t.Helper()
		select {
		case got := <-texts:
			if got != text {
				t.Fatalf("got %q, want %q", got, text)
			}
		case <-time.After(time.Minute):
			t.Fatalf("no line %q in time", text)
		}
	}
	say("one")
	next("one")
	server.begin()
	say("two")
	server.end()
	next("two")
	js, err := b.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	js.Conn().Close() // for good: the bus makes another
	say("three")
	next("three")
}

func TestHostileMessagesHideNothing(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	l := open(t, b)
	nc := natstest.ConnectCore(t, b)
	for _, data := range []string{"", "\n", "{", "null", `{"function":1}`, strings.Repeat("[", 100_000), `{"function":"other","text":"a lie"}`} {
		if err := nc.Publish("mayfly.log.hello.x", []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	l.Append(mayfly.Line{Time: time.Now(), Function: "hello", Text: "here"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, l, logs.Query{Function: "hello"}); !cmp.Equal(got, []string{"here"}) {
		t.Errorf("read %q", got)
	}
}

func TestStreamIsBounded(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	open(t, b)
	js, err := jetstream.New(natstest.ConnectCore(t, b))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), mayfly.StreamLogs)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if c.MaxBytes <= 0 || c.MaxAge != 7*24*time.Hour || c.Discard != jetstream.DiscardOld || c.Replicas != 1 {
		t.Errorf("stream = %+v", c)
	}
	c.Compression, c.Metadata["mayfly.layout"] = jetstream.S2Compression, "1"
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	open(t, b)
	if stream, err = js.Stream(t.Context(), mayfly.StreamLogs); err != nil || stream.CachedInfo().Config.Compression != jetstream.NoCompression {
		t.Errorf("the first layout was left as it was: %v", err)
	}
	c = stream.CachedInfo().Config
	c.Description, c.Metadata["mayfly.layout"] = "made by the future", "3"
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	open(t, b)
	if stream, err = js.Stream(t.Context(), mayfly.StreamLogs); err != nil || stream.CachedInfo().Config.Description != "made by the future" {
		t.Errorf("the stream of a newer Mayfly was rewritten: %v", err)
	}
}
