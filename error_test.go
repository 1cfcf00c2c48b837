package mayfly_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
)

func TestCodesHaveOneNameAtEachDoor(t *testing.T) {
	t.Parallel()
	// This table is a promise to users: scripts and clients look at these values.
	want := []struct {
		code         mayfly.Code
		name         string
		status, exit int
	}{
		{mayfly.Internal, "internal", 500, 1},
		{mayfly.Invalid, "invalid", 400, 2},
		{mayfly.Denied, "denied", 403, 3},
		{mayfly.NotFound, "not_found", 404, 4},
		{mayfly.Conflict, "conflict", 409, 5},
		{mayfly.Exhausted, "exhausted", 429, 6},
		{mayfly.Crashed, "crashed", 502, 7},
		{mayfly.Unavailable, "unavailable", 503, 6},
		{mayfly.Timeout, "timeout", 504, 6},
	}
	if got := len(mayfly.Codes()); got != len(want) {
		t.Fatalf("there are %d codes, this test knows %d", got, len(want))
	}
	for i, code := range mayfly.Codes() {
		w := want[i]
		if code != w.code || code.String() != w.name || code.Status() != w.status || code.Exit() != w.exit {
			t.Errorf("code %d is %s, %d, %d; want %s, %d, %d", i, code, code.Status(), code.Exit(), w.name, w.status, w.exit)
		}
		if back := mayfly.CodeOfStatus(code.Status()); back != code {
			t.Errorf("CodeOfStatus(%d) = %s, want %s", code.Status(), back, code)
		}
	}
}

func TestUnknownCodesAreInternal(t *testing.T) {
	t.Parallel()
	for _, code := range []mayfly.Code{-1, mayfly.Code(len(mayfly.Codes())), 1 << 20} {
		if code.String() != "internal" || code.Status() != 500 || code.Exit() != 1 {
			t.Errorf("Code(%d) is %s, %d, %d", int(code), code, code.Status(), code.Exit())
		}
	}
}

func TestCodeOfStatusFitsEveryStatus(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status int
		want   mayfly.Code
	}{
		{401, mayfly.Denied},
		{402, mayfly.Invalid},
		{413, mayfly.Invalid},
		{499, mayfly.Invalid},
		{501, mayfly.Internal},
		{599, mayfly.Internal},
		{0, mayfly.Internal},
		{600, mayfly.Internal},
	} {
		if got := mayfly.CodeOfStatus(tt.status); got != tt.want {
			t.Errorf("CodeOfStatus(%d) = %s, want %s", tt.status, got, tt.want)
		}
	}
}

func TestCodeOfFindsTheFirstCodeInTheChain(t *testing.T) {
	t.Parallel()
	inner := mayfly.Errorf(mayfly.NotFound, "no function %q", "hello")
	for _, tt := range []struct {
		name string
		err  error
		want mayfly.Code
	}{
		{"itself", inner, mayfly.NotFound},
		{"wrapped", fmt.Errorf("deploy: %w", inner), mayfly.NotFound},
		{"joined", errors.Join(errors.New("other"), inner), mayfly.NotFound},
		{"the outer one wins", mayfly.Errorf(mayfly.Invalid, "route: %w", inner), mayfly.Invalid},
		{"deadline", fmt.Errorf("call: %w", context.DeadlineExceeded), mayfly.Timeout},
		{"cancelled", context.Canceled, mayfly.Timeout},
		{"a code beats the context it wraps", mayfly.Errorf(mayfly.Unavailable, "no bus: %w", context.Canceled), mayfly.Unavailable},
		{"foreign", fs.ErrNotExist, mayfly.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := mayfly.CodeOf(tt.err); got != tt.want {
				t.Errorf("CodeOf(%v) = %s, want %s", tt.err, got, tt.want)
			}
		})
	}
}

func TestErrorfKeepsTheCause(t *testing.T) {
	t.Parallel()
	err := mayfly.Errorf(mayfly.NotFound, "read %s: %w", "mayfly.yaml", fs.ErrNotExist)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	if want := "read mayfly.yaml: file does not exist"; err.Error() != want {
		t.Errorf("Error() = %q, want %q", err, want)
	}
	if plain := mayfly.Errorf(mayfly.Invalid, "no cause"); plain.Unwrap() != nil {
		t.Errorf("Unwrap() = %v, want nil", plain.Unwrap())
	}
}

func TestWithHintChangesACopy(t *testing.T) {
	t.Parallel()
	bare := mayfly.Errorf(mayfly.Invalid, "bad")
	hinted := bare.WithHint("write %s", "good")
	if bare.Hint != "" {
		t.Errorf("the original got the hint %q", bare.Hint)
	}
	if hinted.Hint != "write good" || hinted.Message != "bad" || hinted.Code != mayfly.Invalid {
		t.Errorf("WithHint made %+v", hinted)
	}
	if hinted.Error() != "bad" {
		t.Errorf("Error() = %q: a hint is no part of it", hinted)
	}
}

func TestHintOfFindsTheFirstHint(t *testing.T) {
	t.Parallel()
	hinted := mayfly.Errorf(mayfly.Invalid, "bad").WithHint("inner")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"none", errors.New("bad"), ""},
		{"nil", nil, ""},
		{"no hint", mayfly.Errorf(mayfly.Invalid, "bad"), ""},
		{"itself", hinted, "inner"},
		{"wrapped", fmt.Errorf("up: %w", hinted), "inner"},
		{"below an error without one", mayfly.Errorf(mayfly.Conflict, "up: %w", fmt.Errorf("read: %w", hinted)), "inner"},
		{"the outer one wins", mayfly.Errorf(mayfly.Conflict, "up: %w", hinted).WithHint("outer"), "outer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := mayfly.HintOf(tt.err); got != tt.want {
				t.Errorf("HintOf = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReplyErrSaysWhatTheServiceSaid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		reply mayfly.Reply
		code  mayfly.Code
		want  string // "" for success
	}{
		{"the zero reply succeeded", mayfly.Reply{}, 0, ""},
		{"ok", mayfly.Reply{Status: 200}, 0, ""},
		{"a redirect is no error", mayfly.Reply{Status: http.StatusSeeOther}, 0, ""},
		{"status alone", mayfly.Reply{Status: 404}, mayfly.NotFound, "Not Found"},
		{"a status without a name", mayfly.Reply{Status: 499}, mayfly.Invalid, "status 499"},
		{"words of the service", mayfly.Reply{Status: 409, Error: "already paid"}, mayfly.Conflict, "already paid"},
		{"words without a status", mayfly.Reply{Error: "broken"}, mayfly.Internal, "broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.reply.Err()
			if tt.want == "" {
				if err != nil {
					t.Fatalf("Err() = %v, want nil", err)
				}
				return
			}
			if err == nil || err.Error() != tt.want || mayfly.CodeOf(err) != tt.code {
				t.Errorf("Err() = %v (%s), want %s (%s)", err, mayfly.CodeOf(err), tt.want, tt.code)
			}
		})
	}
}

func ExampleErrorf() {
	err := mayfly.Errorf(mayfly.NotFound, "no function %q", "helo").WithHint("did you mean %s?", "hello")

	wrapped := fmt.Errorf("call: %w", err)
	fmt.Println(wrapped)
	fmt.Println(mayfly.CodeOf(wrapped), mayfly.CodeOf(wrapped).Status(), mayfly.CodeOf(wrapped).Exit())
	fmt.Println(mayfly.HintOf(wrapped))
	// Output:
	// call: no function "helo"
	// not_found 404 4
	// did you mean hello?
}

func ExampleReply_Err() {
	reply := mayfly.Reply{Status: 503, Error: "the printer is out of paper"}
	fmt.Println(reply.Err(), mayfly.CodeOf(reply.Err()))
	// Output: the printer is out of paper unavailable
}

// wantInvalid checks that err is nil when want is empty, or else an Invalid error
// whose text has want in it.
func wantInvalid(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Fatalf("error %q, want none", err)
		}
		return
	}
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	wantInvalidLine(t, err)
	if !strings.Contains(err.Error(), want) {
		t.Fatalf("error %q lacks %q", err, want)
	}
}

// wantInvalidLine checks that err is Invalid and one short printable line,
// whatever the input was: it goes to terminals, logs and HTTP headers.
func wantInvalidLine(t *testing.T, err error) {
	t.Helper()
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Fatalf("code of %q is %s, want invalid", err, mayfly.CodeOf(err))
	}
	text := err.Error()
	if i := strings.IndexFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }); i >= 0 || len(text) > 1000 {
		t.Fatalf("error %q is %d bytes long, with the first unprintable one at %d", text, len(text), i)
	}
}
