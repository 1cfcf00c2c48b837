package mayfly

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"
)

// A Code classifies an error and so says what the caller should do. The same nine codes
// are HTTP statuses at the gateway, Nats-Service-Error-Code on the bus and exit codes
// of the command line.
type Code int

// The codes. The zero Code is Internal, which is also the code of any error that
// is not an *Error.
const (
	Internal    Code = iota // our fault: report it with the call id
	Invalid                 // the request is wrong: fix it
	Denied                  // not allowed: ask for access
	NotFound                // no such thing: check the name
	Conflict                // changed concurrently: read again, retry
	Exhausted               // full: retry later
	Crashed                 // the function's own code failed: look at its log
	Unavailable             // no responders, or no bus: retry soon
	Timeout                 // no reply in time, it may still be running: retry only if idempotent
)

// A codeRow is what a Code is called elsewhere.
type codeRow struct {
	name   string
	status int // HTTP
	exit   int
}

var codes = [...]codeRow{
	Internal:    {"internal", http.StatusInternalServerError, 1},
	Invalid:     {"invalid", http.StatusBadRequest, 2},
	Denied:      {"denied", http.StatusForbidden, 3},
	NotFound:    {"not_found", http.StatusNotFound, 4},
	Conflict:    {"conflict", http.StatusConflict, 5},
	Exhausted:   {"exhausted", http.StatusTooManyRequests, 6},
	Crashed:     {"crashed", http.StatusBadGateway, 7},
	Unavailable: {"unavailable", http.StatusServiceUnavailable, 6},
	Timeout:     {"timeout", http.StatusGatewayTimeout, 6},
}

func (c Code) row() codeRow {
	if c < 0 || int(c) >= len(codes) {
		c = Internal
	}
	return codes[c]
}

// String returns the code's name on the wire, such as "not_found".
func (c Code) String() string { return c.row().name }

// Status returns the HTTP status, which is also the Nats-Service-Error-Code.
func (c Code) Status() int { return c.row().status }

// Exit returns the exit code of a command that failed with c.
func (c Code) Exit() int { return c.row().exit }

// Codes returns every code, in order of declaration.
func Codes() []Code {
	all := make([]Code, len(codes))
	for i := range all {
		all[i] = Code(i)
	}
	return all
}

// CodeOfStatus returns the code for an HTTP status of 400 or above.
func CodeOfStatus(status int) Code {
	for c, row := range codes {
		if row.status == status {
			return Code(c)
		}
	}
	switch {
	case status == http.StatusUnauthorized:
		return Denied
	case status >= 400 && status < 500:
		return Invalid
	default:
		return Internal
	}
}

// Causes that errors.Is tells apart within one code.
var (
	// ErrNobody is the cause of an Unavailable call that had no responders, so a
	// retry is safe for every method.
	ErrNobody = errors.New("no responders")

	// ErrSilent is the cause of an Unavailable call that a node took, and gave no sign of
	// life for: which node is unknown.
	ErrSilent = errors.New("no sign of life")

	// ErrTooLarge is the cause of an Invalid call whose headers and body exceed the
	// bus's message limit.
	ErrTooLarge = errors.New("too large")
)

// A Trace is the output of a function's language when its code failed, such as a stack
// trace: the cause of a Crashed error, found with errors.AsType. Only developers on this
// machine see it in replies; the log always has it.
type Trace string

// Error returns the trace.
func (t Trace) Error() string { return string(t) }

// An Error is the one error type of Mayfly: created at the source, wrapped with
// context on the way, translated at the door.
type Error struct {
	Code    Code
	Message string // one lower-case line, no period, no secrets
	Hint    string // how to fix it; may be empty
	Err     error  // the cause; may be nil
}

// Errorf returns an *Error. The operands of %w among the verbs are its causes.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	cause := errors.Unwrap(err)
	if _, several := err.(interface{ Unwrap() []error }); several {
		cause = err
	}
	return &Error{Code: code, Message: err.Error(), Err: cause}
}

// Clip shortens untrusted text for a message to 120 characters.
func Clip(s string) string {
	const most = 120
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}

// WithHint returns a copy of e with a hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Error returns the message without the hint.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain. Context errors are
// Timeout; anything else is Internal.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Timeout
	}
	return Internal
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
