//go:build unix

package conformance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// A suite checks one engine with one program.
type suite struct {
	runner.Traits
	engine runner.Engine
	fixtures
}

func (s *suite) run(t *testing.T) {
	t.Run("start", s.start)
	t.Run("stop", s.stop)
	if s.uncalled {
		t.Run("service", s.service)
		return
	}
	t.Run("replies", s.replies)
	t.Run("bodies", s.bodies)
	t.Run("streams", s.streams)
	t.Run("environment", s.environment)
	t.Run("output", s.output)
	t.Run("the end of a call", s.ends)
	t.Run("crash", s.crash)
	t.Run("many calls at once", s.concurrency)
	t.Run("usage", s.usage)
}

// A subject is an instance under test, with its output.
type subject struct {
	runner.Instance
	spec runner.Spec
	pipe *pipe

	mu    sync.Mutex
	lines []mayfly.Line
	more  chan struct{} // signals new lines
}

// spec describes an instance of a program.
func (s *suite) spec(t *testing.T, p mayfly.Program, sub *subject, env ...string) runner.Spec {
	t.Helper()
	id := strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' || r == '#' {
			return '-'
		}
		return r
	}, t.Name())
	return runner.Spec{
		Name: "fixture", Revision: 7, Program: p, Instance: id, Folder: t.TempDir(),
		Limits: mayfly.Limits{}.WithDefaults(),
		Env: slices.Concat(environment(), env,
			[]string{mayfly.EnvFunction + "=fixture", mayfly.EnvRevision + "=7", mayfly.EnvInstance + "=" + id}),
		Output: sub.hear,
	}
}

func newSubject(t *testing.T) *subject {
	return &subject{pipe: newPipe(t), more: make(chan struct{}, 1)}
}

// open starts an instance of the fixture and stops it when the test ends.
func (s *suite) open(t *testing.T, env ...string) *subject {
	t.Helper()
	sub := newSubject(t)
	sub.spec = s.spec(t, s.program, sub, append(env, sub.pipe.variable())...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	if sub.Instance, err = s.engine.Start(ctx, sub.spec); err != nil {
		t.Fatalf("Start: %v\n%s", err, trace(err))
	}
	t.Cleanup(func() { stop(sub, 5*time.Second) })
	return sub
}

func stop(i runner.Instance, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	i.Stop(ctx)
}

func (s *subject) hear(l mayfly.Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// line waits for the first line with that text and returns it.
func (s *subject) line(t *testing.T, text string) mayfly.Line {
	t.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		lines := slices.Clone(s.lines)
		s.mu.Unlock()
		if i := slices.IndexFunc(lines, func(l mayfly.Line) bool { return l.Text == text }); i >= 0 {
			return lines[i]
		}
		select {
		case <-s.more:
		case <-timeout:
			t.Fatalf("no line %q among %+v", text, lines)
		}
	}
}

// call returns a call of the path, as a gateway would make it.
func call(t *testing.T, path string) *mayfly.Call {
	return &mayfly.Call{
		ID: strings.ReplaceAll(t.Name(), "/", "-") + path, Method: "POST", Path: path, Host: "example.org", Remote: "192.0.2.1:1234",
		Header: map[string][]string{}, Deadline: time.Now().Add(patience),
	}
}

// ask makes a call that must succeed, and returns the reply and its whole body.
func ask(t *testing.T, i runner.Instance, c *mayfly.Call) (mayfly.Reply, []byte) {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), c.Deadline)
	defer cancel()
	r, err := i.Call(ctx, c)
	if err != nil {
		t.Fatalf("Call %s: %v\n%s", c.Path, err, trace(err))
	}
	body := r.Body
	if r.Stream != nil {
		if len(r.Body) > 0 {
			t.Errorf("Call %s: the reply has a Body and a Stream", c.Path)
		}
		if body, err = io.ReadAll(r.Stream); err != nil {
			t.Fatalf("Call %s: read the reply: %v", c.Path, err)
		}
		if err := r.Stream.Close(); err != nil {
			t.Errorf("Call %s: close the reply: %v", c.Path, err)
		}
		if r.Length >= 0 && r.Length != int64(len(body)) {
			t.Errorf("Call %s: Length is %d, the body has %d bytes", c.Path, r.Length, len(body))
		}
	}
	return r, body
}

func trace(err error) string {
	text, _ := errors.AsType[mayfly.Trace](err)
	return string(text)
}

// awaitGone waits for Done and returns Err.
func awaitGone(t *testing.T, i runner.Instance) error {
	t.Helper()
	select {
	case <-i.Done():
		return i.Err()
	case <-time.After(patience):
		t.Fatalf("Done is not closed after %s", patience)
		return nil
	}
}

func (s *suite) start(t *testing.T) {
	t.Parallel()
	engine := s.engine
	if s.patient != nil {
		engine = s.patient
	}
	t.Run("a broken program is an error with its last lines", func(t *testing.T) {
		t.Parallel()
		sub := newSubject(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		i, err := engine.Start(ctx, s.spec(t, s.broken, sub))
		if err == nil {
			stop(i, 0)
			t.Fatal("it started")
		}
		if mayfly.CodeOf(err) != mayfly.Crashed {
			t.Errorf("the code is %s, want crashed: %v", mayfly.CodeOf(err), err)
		}
		if !strings.Contains(err.Error()+"\n"+trace(err), s.brokenSays) {
			t.Errorf("neither %q nor its trace %q says %q", err, trace(err), s.brokenSays)
		}
	})
	t.Run("a missing program is an error", func(t *testing.T) {
		t.Parallel()
		p := s.program
		p.Start = []string{"./no-such-program"}
		_, err := s.engine.Start(t.Context(), s.spec(t, p, newSubject(t)))
		if mayfly.CodeOf(err) != mayfly.Crashed || err == nil || !strings.Contains(err.Error(), "no-such-program") || mayfly.HintOf(err) == "" {
			t.Errorf("Start = %v (hint %q), want crashed with the program's name and a hint", err, mayfly.HintOf(err))
		}
	})
	t.Run("a canceled start leaves nothing", func(t *testing.T) {
		t.Parallel()
		if len(s.silent.Start) == 0 {
			if !s.PerCall {
				t.Error("fixtures.silent is missing")
			}
			return // there is nothing to wait for
		}
		sub := newSubject(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		failed := make(chan error, 1)
		spec := s.spec(t, s.silent, sub, sub.pipe.variable())
		go func() {
			_, err := engine.Start(ctx, spec)
			failed <- err
		}()
		sub.pipe.awaitOpen(t)
		cancel()
		if err := <-failed; mayfly.CodeOf(err) != mayfly.Crashed && mayfly.CodeOf(err) != mayfly.Timeout {
			t.Errorf("Start = %v, want crashed or timeout", err)
		}
		sub.pipe.awaitClosed(t)
	})
}

func (s *suite) stop(t *testing.T) {
	t.Parallel()
	t.Run("waits and leaves no process", func(t *testing.T) {
		t.Parallel()
		sub := s.open(t)
		if !s.uncalled {
			if _, body := ask(t, sub, call(t, "/child")); string(body) != "born" {
				t.Fatalf("/child replied %q", body)
			}
		}
		sub.pipe.awaitOpen(t)
		stop(sub, 200*time.Millisecond)
		if err := awaitGone(t, sub); err != nil {
			t.Errorf("Err after Stop = %v, want nil", err)
		}
		sub.pipe.awaitClosed(t)
	})
	t.Run("twice, and from two at once", func(t *testing.T) {
		t.Parallel()
		sub := s.open(t)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { stop(sub, 5*time.Second) })
		}
		both.Wait()
		stop(sub, 0)
		if err := awaitGone(t, sub); err != nil {
			t.Errorf("Err after Stop = %v, want nil", err)
		}
	})
	t.Run("a call to a stopped instance fails", func(t *testing.T) {
		t.Parallel()
		sub := s.open(t)
		stop(sub, 5*time.Second)
		if _, err := sub.Call(t.Context(), call(t, "/echo")); err == nil {
			t.Error("it succeeded")
		}
	})
	if s.uncalled {
		return
	}
	t.Run("ends the calls in flight", func(t *testing.T) {
		t.Parallel()
		sub := s.open(t)
		failed := make(chan error, 1)
		c := call(t, "/hang")
		go func() {
			_, err := sub.Call(t.Context(), c)
			failed <- err
		}()
		sub.pipe.awaitOpen(t)
		stop(sub, 50*time.Millisecond)
		select {
		case err := <-failed:
			if err == nil {
				t.Error("the call succeeded")
			}
		case <-time.After(patience):
			t.Error("the call still waits")
		}
		sub.pipe.awaitClosed(t)
	})
}

func (s *suite) replies(t *testing.T) {
	t.Parallel()
	sub := s.open(t)
	t.Run("method, path and query arrive", func(t *testing.T) {
		for _, tt := range []struct{ method, path, query, want string }{
			{"GET", "/where", "", "GET\n/where\n\n"},
			{"DELETE", "/where", "a=1&b=%20", "DELETE\n/where\na=1&b=%20\n"},
			{"", "/where", "", "POST\n/where\n\n"}, // a NATS message has no method
		} {
			c := call(t, tt.path)
			c.Method, c.Query = tt.method, tt.query
			if _, body := ask(t, sub, c); string(body) != tt.want {
				t.Errorf("%s %s?%s arrived as %q", tt.method, tt.path, tt.query, body)
			}
		}
	})
	t.Run("headers arrive", func(t *testing.T) {
		c := call(t, "/header")
		c.Header.Set("X-Ask", "what I want")
		if _, body := ask(t, sub, c); string(body) != "what I want" {
			t.Errorf("the header arrived as %q", body)
		}
	})
	t.Run("status, headers and body come back", func(t *testing.T) {
		r, body := ask(t, sub, call(t, "/reply"))
		wantStatus, wantHeader := 201, "yes"
		if s.raw {
			wantStatus, wantHeader = 200, ""
		}
		if r.Status != wantStatus || r.Header.Get("X-Fixture") != wantHeader || string(body) != "made" {
			t.Errorf("the reply is %d, %v, %q", r.Status, r.Header, body)
		}
	})
	t.Run("no body", func(t *testing.T) {
		if r, body := ask(t, sub, call(t, "/nothing")); len(body) > 0 || r.Status/100 != 2 {
			t.Errorf("the reply is %d with %d bytes", r.Status, len(body))
		}
	})
}

func (s *suite) bodies(t *testing.T) {
	t.Parallel()
	sub := s.open(t)
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	for _, tt := range []struct {
		name string
		body []byte
	}{
		{"empty", nil},
		{"one byte", []byte{0}},
		{"binary", binary},
		{"64 KiB", bytes.Repeat(binary, 256)},
		{"3 MiB", bytes.Repeat(binary, 3<<20/256)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, carrier := range []string{"body", "stream", "stream of unknown length"} {
				c := call(t, "/echo")
				switch carrier {
				case "body":
					c.Body = tt.body
				case "stream":
					c.Stream, c.Length = bytes.NewReader(tt.body), int64(len(tt.body))
				default:
					c.Stream, c.Length = bytes.NewReader(tt.body), -1
				}
				if _, got := ask(t, sub, c); !bytes.Equal(got, tt.body) {
					t.Errorf("by %s: %d bytes came back of %d, or different ones", carrier, len(got), len(tt.body))
				}
			}
		})
	}
	t.Run("8 MiB come back", func(t *testing.T) {
		if _, body := ask(t, sub, call(t, "/big")); len(body) != 8<<20 || bytes.Count(body, []byte("x")) != len(body) {
			t.Errorf("%d bytes came, or different ones", len(body))
		}
	})
}

func (s *suite) streams(t *testing.T) {
	t.Parallel()
	sub := s.open(t)
	t.Run("the reply comes while the request is still sent", func(t *testing.T) {
		upload, more := io.Pipe()
		c := call(t, "/duplex")
		c.Stream, c.Length = upload, -1
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, err := sub.Call(ctx, c)
		if err != nil {
			t.Fatalf("Call: %v", err)
		}
		if r.Stream == nil {
			t.Fatalf("the reply is not a stream, its body is %q", r.Body)
		}
		defer r.Stream.Close()
		got := make([]byte, len("first\n"))
		if _, err := io.ReadFull(r.Stream, got); err != nil || string(got) != "first\n" {
			t.Fatalf("the stream begins with %q, %v", got, err)
		}
		for _, part := range []string{"one\n", "two\n"} {
			if _, err := io.WriteString(more, part); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(part))
			if _, err := io.ReadFull(r.Stream, got); err != nil || string(got) != part {
				t.Fatalf("%q came back as %q, %v", part, got, err)
			}
		}
		more.Close()
		if rest, err := io.ReadAll(r.Stream); err != nil || len(rest) > 0 {
			t.Errorf("the stream ends with %q, %v", rest, err)
		}
	})
	t.Run("an unread body delays nothing", func(t *testing.T) {
		upload, more := io.Pipe()
		defer more.Close()
		c := call(t, "/deaf")
		c.Stream, c.Length = upload, -1
		if _, body := ask(t, sub, c); string(body) != "deaf" {
			t.Errorf("the reply is %q", body)
		}
	})
	t.Run("closing the reply ends the call", func(t *testing.T) {
		sub := s.open(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, err := sub.Call(ctx, call(t, "/endless"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Stream == nil {
			t.Fatal("the reply is not a stream")
		}
		if _, err := io.CopyN(io.Discard, r.Stream, 1<<20); err != nil {
			t.Fatal(err)
		}
		sub.pipe.awaitOpen(t)
		_ = r.Stream.Close() // an error is fine: the body was not read to its end
		sub.pipe.awaitClosed(t)
	})
	t.Run("canceling the context ends the stream", func(t *testing.T) {
		sub := s.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := sub.Call(ctx, call(t, "/endless"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Stream.Close()
		sub.pipe.awaitOpen(t)
		cancel()
		if _, err := io.Copy(io.Discard, r.Stream); err == nil {
			t.Error("the stream ended as if it were complete")
		}
		sub.pipe.awaitClosed(t)
	})
}

func (s *suite) environment(t *testing.T) {
	t.Parallel()
	sub := s.open(t, "GREETING=hello", "API_KEY=a secret\nof two lines", "EMPTY=")
	_, body := ask(t, sub, call(t, "/env"))
	s.exact(t, strings.Split(strings.TrimSuffix(string(body), "\x00"), "\x00"), sub.spec.Env)
}

// exact checks that the environment is the expected one plus the engine's additions.
func (s *suite) exact(t *testing.T, got, want []string) {
	t.Helper()
	for _, entry := range want {
		if !slices.Contains(got, entry) {
			t.Errorf("the environment lacks %q", entry)
		}
	}
	for _, entry := range got {
		name, _, _ := strings.Cut(entry, "=")
		added := slices.ContainsFunc(s.adds, func(add string) bool {
			prefix, many := strings.CutSuffix(add, "*")
			return name == add || many && strings.HasPrefix(name, prefix)
		})
		if !added && !slices.Contains(want, entry) {
			t.Errorf("the environment has %q, which is not from the test", entry)
		}
	}
}

func (s *suite) output(t *testing.T) {
	t.Parallel()
	sub := s.open(t)
	c := call(t, "/say")
	if _, body := ask(t, sub, c); string(body) != "said" {
		t.Errorf("/say replied %q", body)
	}
	for text, source := range map[string]mayfly.Source{"to stderr": mayfly.Stderr, "to stdout": mayfly.Stdout} {
		if source == mayfly.Stdout && s.PerCall {
			continue
		}
		l := sub.line(t, text)
		if l.Call != c.ID {
			t.Errorf("%q is of call %q, want %q", text, l.Call, c.ID)
		}
		sub.checkLine(t, l, source)
	}
}

func (s *subject) checkLine(t *testing.T, l mayfly.Line, source mayfly.Source) {
	t.Helper()
	if l.Source != source || l.Function != s.spec.Name || l.Revision != s.spec.Revision || l.Instance != s.spec.Instance {
		t.Errorf("line %q is from %q of %s@%d, instance %q", l.Text, l.Source, l.Function, l.Revision, l.Instance)
	}
	if age := time.Since(l.Time); age < 0 || age > time.Minute {
		t.Errorf("line %q has the time %s", l.Text, l.Time)
	}
}

func (s *suite) ends(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
	}{
		{"the deadline stops the work", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}},
		{"canceling the call stops the work", context.WithCancel},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sub := s.open(t)
			ctx, cancel := tt.end(t.Context())
			defer cancel()
			failed := make(chan error, 1)
			c := call(t, "/hang")
			go func() {
				_, err := sub.Call(ctx, c)
				failed <- err
			}()
			if _, timed := ctx.Deadline(); !timed {
				sub.pipe.awaitOpen(t)
				cancel()
			}
			select {
			case err := <-failed:
				if mayfly.CodeOf(err) != mayfly.Timeout {
					t.Errorf("Call = %v, want timeout", err)
				}
			case <-time.After(patience):
				t.Fatal("the call still waits")
			}
			sub.pipe.awaitClosed(t)
			c = call(t, "/echo")
			c.Body = []byte("next")
			if _, body := ask(t, sub, c); string(body) != "next" {
				t.Errorf("the next call was answered with %q", body)
			}
		})
	}
	t.Run("a call that is canceled before it begins", func(t *testing.T) {
		t.Parallel()
		sub := s.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := sub.Call(ctx, call(t, "/echo")); mayfly.CodeOf(err) != mayfly.Timeout {
			t.Errorf("Call = %v, want timeout", err)
		}
	})
}

func (s *suite) crash(t *testing.T) {
	t.Parallel()
	sub := s.open(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := sub.Call(ctx, call(t, "/crash"))
	if mayfly.CodeOf(err) != mayfly.Crashed {
		t.Fatalf("Call = %v, want crashed", err)
	}
	if !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("the error %q does not say how it ended", err)
	}
	if !strings.Contains(trace(err), "last words") {
		t.Errorf("the trace is %q", trace(err))
	}
	if !s.PerCall {
		if err := awaitGone(t, sub); err == nil || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("Err = %v, want exit status 3", err)
		}
		if _, err := sub.Call(ctx, call(t, "/echo")); mayfly.CodeOf(err) != mayfly.Crashed && mayfly.CodeOf(err) != mayfly.Unavailable {
			t.Errorf("a call to an exited instance = %v, want crashed or unavailable", err)
		}
		return
	}
	c := call(t, "/echo")
	c.Body = []byte("next")
	if _, body := ask(t, sub, c); string(body) != "next" {
		t.Errorf("the next call was answered with %q", body)
	}
}

func (s *suite) concurrency(t *testing.T) {
	t.Parallel()
	sub := s.open(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 3 {
				c := call(t, "/echo")
				c.ID += strconv.Itoa(10*i + n)
				c.Body = bytes.Repeat([]byte(c.ID), 1000)
				ctx, cancel := context.WithDeadline(t.Context(), c.Deadline)
				r, err := sub.Call(ctx, c)
				body := r.Body
				if err == nil && r.Stream != nil {
					body, err = io.ReadAll(r.Stream)
					r.Stream.Close()
				}
				cancel()
				if err != nil || !bytes.Equal(body, c.Body) {
					t.Errorf("call %s: %v, %d bytes", c.ID, err, len(body))
				}
			}
		})
	}
	all.Wait()
}

func (s *suite) usage(t *testing.T) {
	t.Parallel()
	sub := s.open(t)
	if u := sub.Usage(); s.PerCall && u.PID != 0 || !s.PerCall && u.PID <= 0 {
		t.Errorf("Usage = %+v", u)
	}
	ask(t, sub, call(t, "/echo"))
	if u := sub.Usage(); u.Memory < 0 || u.CPU < 0 {
		t.Errorf("Usage = %+v", u)
	}
	stop(sub, 5*time.Second)
	if u := sub.Usage(); u.Memory != 0 {
		t.Errorf("after Stop Usage = %+v", u)
	}
}

func (s *suite) service(t *testing.T) {
	t.Parallel()
	t.Run("is not called", func(t *testing.T) {
		t.Parallel()
		if _, err := s.open(t).Call(t.Context(), call(t, "/echo")); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("Call = %v, want invalid", err)
		}
	})
	t.Run("has its environment, and its lines are logged", func(t *testing.T) {
		t.Parallel()
		sub := s.open(t, "GREETING=hello", "EMPTY=")
		sub.checkLine(t, sub.line(t, "to stderr"), mayfly.Stderr)
		sub.checkLine(t, sub.line(t, "ready"), mayfly.Stdout)
		var got []string
		sub.mu.Lock()
		for _, l := range sub.lines {
			if l.Source == mayfly.Stdout && l.Text != "ready" {
				got = append(got, l.Text)
			}
		}
		sub.mu.Unlock()
		s.exact(t, got, sub.spec.Env)
	})
	t.Run("that crashes ends with its exit status", func(t *testing.T) {
		t.Parallel()
		sub := newSubject(t)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// It may crash while it starts, or afterwards.
		i, err := s.engine.Start(ctx, s.spec(t, s.program, sub, "CRASH=yes"))
		if err == nil {
			err = awaitGone(t, i)
			stop(i, 0)
		} else if !strings.Contains(trace(err), "last words") {
			t.Errorf("the trace is %q", trace(err))
		}
		if mayfly.CodeOf(err) != mayfly.Crashed || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("it ended with %v, want crashed with exit status 3", err)
		}
		sub.line(t, "last words")
	})
	t.Run("has usage", func(t *testing.T) {
		t.Parallel()
		sub := s.open(t)
		if u := sub.Usage(); u.PID <= 0 || u.CPU < 0 {
			t.Errorf("Usage = %+v", u)
		}
	})
}
