//go:build unix

package exec_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
)

const patience = time.Minute // for what takes milliseconds

// script starts an instance of a shell script, made as a user would make it.
func script(t *testing.T, text string, change ...func(*runner.Spec)) runner.Instance {
	t.Helper()
	s := runner.Spec{
		Name: "script", Instance: t.Name(), Folder: t.TempDir(),
		Program: mayfly.Program{Engine: mayfly.EngineExec, Start: []string{"./script.sh"}},
		Limits:  mayfly.Limits{}.WithDefaults(),
		Env:     []string{"PATH=" + os.Getenv("PATH")},
		Output:  func(l mayfly.Line) { t.Logf("%s: %s", l.Source, l.Text) },
	}
	for _, c := range change {
		c(&s)
	}
	if err := os.WriteFile(filepath.Join(s.Folder, "script.sh"), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	i, err := newEngine(t).Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		i.Stop(ctx)
	})
	return i
}

func invoke(t *testing.T, i runner.Instance, c *mayfly.Call) (mayfly.Reply, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c.ID = t.Name()
	return i.Call(ctx, c)
}

// tries is how often a program may take longer to end than a short reply waits for
// it: a busy machine has it so now and then, but not each time.
const tries = 100

func TestShortReplyIsABody(t *testing.T) {
	t.Parallel()
	i := script(t, `printf 'hello, %s' "$(cat)"`)
	for range tries {
		r, err := invoke(t, i, &mayfly.Call{Body: []byte("Ada")})
		if err != nil {
			t.Fatal(err)
		}
		if r.Stream == nil {
			if r.Status != http.StatusOK || string(r.Body) != "hello, Ada" || r.Length != 10 {
				t.Errorf("the reply is %+v", r)
			}
			return
		}
		body, err := io.ReadAll(r.Stream)
		r.Stream.Close()
		if string(body) != "hello, Ada" || err != nil {
			t.Fatalf("the stream was %q and ended with %v", body, err)
		}
	}
	t.Errorf("%d replies were streams, every one", tries)
}

// A program that fails after it has written a little is an error, and what it wrote
// is not half a reply.
func TestShortReplyOfAProgramThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	var told []mayfly.Line
	i := script(t, `printf half; echo why >&2; exit 7`, func(s *runner.Spec) {
		s.Output = func(l mayfly.Line) { told = append(told, l) } // each before its call's end
	})
	for range tries {
		told = nil
		r, err := invoke(t, i, &mayfly.Call{})
		early := err != nil
		if !early {
			_, err = io.Copy(io.Discard, r.Stream)
			r.Stream.Close()
		}
		trace, _ := errors.AsType[mayfly.Trace](err)
		if mayfly.CodeOf(err) != mayfly.Crashed || err == nil || err.Error() != "script failed: exit status 7" || trace != "why" {
			t.Fatalf("Call = %v with trace %q, want crashed, exit status 7, why", err, trace)
		}
		if n := len(told); n != 2 || told[1].Source != mayfly.System || told[1].Text != "crashed: script failed: exit status 7" || told[1].Call != t.Name() {
			t.Fatalf("the log has %+v", told)
		}
		if early {
			return
		}
	}
	t.Errorf("%d replies were streams, every one", tries)
}

func TestStreamOfAProgramThatFailsBreaksOff(t *testing.T) {
	t.Parallel()
	upload, more := io.Pipe()
	r, err := invoke(t, script(t, `echo begun; read line; echo why >&2; exit 7`), &mayfly.Call{Stream: upload, Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stream.Close()
	more.Close()
	body, err := io.ReadAll(r.Stream)
	if string(body) != "begun\n" || mayfly.CodeOf(err) != mayfly.Crashed || err == nil || err.Error() != "script failed: exit status 7" {
		t.Errorf("the stream was %q and ended with %v", body, err)
	}
}

func TestStreamThatIsSilentEnds(t *testing.T) {
	t.Parallel()
	i := script(t, `echo begun; exec sleep 1000`, func(s *runner.Spec) { s.Limits.IdleTimeout = mayfly.Duration(50 * time.Millisecond) })
	r, err := invoke(t, i, &mayfly.Call{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stream.Close()
	if body, err := io.ReadAll(r.Stream); string(body) != "begun\n" || mayfly.CodeOf(err) != mayfly.Timeout || mayfly.HintOf(err) == "" {
		t.Errorf("the stream was %q and ended with %v", body, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUploadThatBreaksOffEndsTheCall(t *testing.T) {
	t.Parallel()
	done := filepath.Join(t.TempDir(), "done")
	i := script(t, `cat; echo done >"$DONE"`, func(s *runner.Spec) { s.Env = append(s.Env, "DONE="+done) })
	_, err := invoke(t, i, &mayfly.Call{Stream: io.MultiReader(strings.NewReader("half"), brokenReader{}), Length: 100})
	if mayfly.CodeOf(err) != mayfly.Invalid || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Call = %v, want invalid", err)
	}
	if _, err := os.Stat(done); err == nil {
		t.Error("the program took half of the body for all of it")
	}
}

// Whoever calls next must not find the full folder, also if nobody waited for the verdict.
func TestFullFolderEndsTheInstanceHoweverTheCallEnds(t *testing.T) {
	t.Parallel()
	const text = `[ -e "$TMPDIR/big" ] && exit; head -c 3000000 /dev/zero >"$TMPDIR/big"; echo full >&2; exec sleep 1000`
	for _, tt := range []struct {
		name string
		call func(i runner.Instance, full <-chan struct{}) error
	}{
		{"the client leaves", func(i runner.Instance, full <-chan struct{}) error {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-full
				cancel()
			}()
			_, err := i.Call(ctx, &mayfly.Call{})
			return err
		}},
		{"the upload breaks off", func(i runner.Instance, full <-chan struct{}) error {
			body, upload := io.Pipe()
			go func() {
				<-full
				upload.CloseWithError(io.ErrUnexpectedEOF)
			}()
			_, err := i.Call(t.Context(), &mayfly.Call{Stream: body, Length: 100})
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			full := make(chan struct{})
			i := script(t, text, func(s *runner.Spec) {
				s.Program.Disk = 1 << 20
				s.Env = append(s.Env, "TMPDIR="+t.TempDir())
				s.Output = func(l mayfly.Line) {
					if l.Text == "full" {
						close(full)
					}
				}
			})
			if err := tt.call(i, full); err == nil {
				t.Error("the call succeeded")
			}
			if _, err := i.Call(t.Context(), &mayfly.Call{}); mayfly.CodeOf(err) != mayfly.Unavailable {
				t.Fatalf("the next call = %v, want unavailable", err)
			}
			<-i.Done()
			if err := i.Err(); mayfly.CodeOf(err) != mayfly.Crashed || !strings.Contains(err.Error(), "too much in TMPDIR") {
				t.Errorf("Err() = %v", err)
			}
		})
	}
}

func TestReaderThatStallsDoesNotHoldUpStop(t *testing.T) {
	t.Parallel()
	i := script(t, `exec cat /dev/zero`)
	r, err := invoke(t, i, &mayfly.Call{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i.Stop(ctx) // nobody reads r.Stream
	if _, err := io.Copy(io.Discard, r.Stream); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("the stream ended with %v, want unavailable", err)
	}
	if err := r.Stream.Close(); err != nil {
		t.Error(err)
	}
}

func TestHeadersOfCGIMayComeLate(t *testing.T) {
	t.Parallel()
	upload, more := io.Pipe()
	i := script(t, `printf 'Status: 2'; sleep 0.05; printf '02\nX-A: 1\n\n'; read line; echo body`, func(s *runner.Spec) { s.Program.CGI = true })
	r, err := invoke(t, i, &mayfly.Call{Stream: upload, Length: -1})
	if err != nil {
		t.Fatal(err)
	}
	if r.Stream == nil {
		t.Fatalf("the reply is no stream: %q", r.Body)
	}
	defer r.Stream.Close()
	more.Close()
	body, err := io.ReadAll(r.Stream)
	if r.Status != http.StatusAccepted || r.Header.Get("X-A") != "1" || string(body) != "body\n" || err != nil {
		t.Errorf("the reply is %d %v %q, %v", r.Status, r.Header, body, err)
	}
}

func TestReplyThatIsNoCGIIsTold(t *testing.T) {
	t.Parallel()
	_, err := invoke(t, script(t, `echo hello`, func(s *runner.Spec) { s.Program.CGI = true }), &mayfly.Call{})
	if mayfly.CodeOf(err) != mayfly.Crashed || mayfly.HintOf(err) == "" {
		t.Errorf("Call = %v", err)
	}
}

func TestZeroByteInAPathIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := invoke(t, script(t, `exit 0`), &mayfly.Call{Path: "/%00"}); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("Call = %v, want invalid", err)
	}
}
