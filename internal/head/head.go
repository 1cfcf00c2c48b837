package head

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A Dialect is how a carrier writes the lines of a head.
type Dialect struct {
	Version string // ends the first line
	Colon   string // between name and value
	End     string // of a line: LF, perhaps after CR
	Chunked bool   // a body of unknown length has a Transfer-Encoding
}

// Append appends the head of a call, without the empty line that HTTP ends it with. Errors
// have code Invalid and name what is wrong with the call.
func Append(b []byte, c *mayfly.Call, deadline time.Time, d Dialect) ([]byte, error) {
	start, lines := len(b), 2
	method := c.Method
	if method == "" {
		method = http.MethodPost
	}
	if !IsToken(method) {
		return nil, mayfly.Errorf(mayfly.Invalid, "invalid method %q", mayfly.Clip(method))
	}
	b = append(b, method...)
	b = append(b, ' ')
	b, err := appendTarget(b, c.Path, c.Query)
	if err != nil {
		return nil, err
	}
	b = append(b, d.Version...)
	b = append(b, d.End...)
	b = append(b, "Host"...)
	b = append(b, d.Colon...)
	if b, err = appendHost(b, c.Host); err != nil {
		return nil, err
	}
	b = append(b, d.End...)
	for name, values := range c.Header {
		if canonical, valid := CanonicalName(name); !valid {
			return nil, mayfly.Errorf(mayfly.Invalid, "invalid header name %q", mayfly.Clip(name))
		} else if ours(canonical) {
			continue
		}
		for _, value := range values {
			b = d.line(b, name, value)
			lines++
		}
	}
	if c.ID != "" {
		b = d.line(b, mayfly.HeaderCall, c.ID)
		lines++
	}
	if c.Remote != "" {
		b = d.line(b, mayfly.HeaderRemote, c.Remote)
		lines++
	}
	if !deadline.IsZero() {
		b = d.number(b, mayfly.HeaderDeadline, deadline.UnixMilli())
		lines++
	}
	switch length := BodyLength(c); {
	case length < 0 && d.Chunked:
		b = d.line(b, "Transfer-Encoding", "chunked")
		lines++
	case length > 0 || length == 0 && method != http.MethodGet && method != http.MethodHead:
		b = d.number(b, "Content-Length", length)
		lines++
	}
	// However it got into the head, a line that is not ours shows in the count.
	if !d.has(b[start:], lines) {
		return nil, mayfly.Errorf(mayfly.Invalid, "a header of the call contains a line break or NUL").
			WithHint("remove CR, LF and NUL from header values")
	}
	return b, nil
}

func (d Dialect) line(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, d.Colon...)
	b = append(b, value...)
	return append(b, d.End...)
}

func (d Dialect) number(b []byte, name string, value int64) []byte {
	b = append(b, name...)
	b = append(b, d.Colon...)
	b = strconv.AppendInt(b, value, 10)
	return append(b, d.End...)
}

// has reports whether a head has that many lines and no stray line break or NUL.
func (d Dialect) has(head []byte, lines int) bool {
	returns := 0
	if len(d.End) > 1 {
		returns = lines
	}
	return bytes.Count(head, lineFeed) == lines && bytes.Count(head, carriageReturn) == returns && bytes.IndexByte(head, 0) < 0
}

var lineFeed, carriageReturn = []byte{'\n'}, []byte{'\r'}

// Deadline returns when a reply must have begun, or zero if that time starts
// at the end of the request's stream.
func Deadline(ctx context.Context, c *mayfly.Call, began time.Time, timeout time.Duration) time.Time {
	deadline := c.Deadline
	if deadline.IsZero() && c.Stream == nil && timeout > 0 {
		deadline = began.Add(timeout)
	}
	if d, ok := ctx.Deadline(); ok && (deadline.IsZero() || d.Before(deadline)) {
		deadline = d
	}
	return deadline
}

// BodyLength returns the length of the call's body, or -1 if unknown.
func BodyLength(c *mayfly.Call) int64 {
	if c.Stream != nil {
		return max(c.Length, -1)
	}
	return int64(len(c.Body))
}

// appendTarget appends the path and the query. It escapes non-ASCII bytes, which
// some clients send raw and some servers reject.
func appendTarget(b []byte, path, query string) ([]byte, error) {
	if path == "" {
		path = "/"
	}
	if path[0] != '/' && path != "*" {
		return nil, mayfly.Errorf(mayfly.Invalid, "the path %q does not begin with /", mayfly.Clip(path))
	}
	b, ok := appendEscaped(b, path)
	if query != "" {
		var fine bool
		b, fine = appendEscaped(append(b, '?'), query)
		ok = ok && fine
	}
	if !ok {
		return nil, mayfly.Errorf(mayfly.Invalid, "the path or query contains a space or control character").
			WithHint("escape it: %%20 is a space")
	}
	return b, nil
}

// appendEscaped returns false if s holds a byte that a request line must not.
func appendEscaped(b []byte, s string) ([]byte, bool) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f:
			return b, false
		case c >= 0x80:
			b = append(b, '%', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return b, true
}

func appendHost(b []byte, host string) ([]byte, error) {
	if host == "" {
		return append(b, "localhost"...), nil
	}
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c >= 0x7f {
			return nil, mayfly.Errorf(mayfly.Invalid, "invalid host %q", mayfly.Clip(host))
		}
	}
	return append(b, host...), nil
}

// ours reports whether Append writes a request header itself or never forwards it. The
// name is canonical.
func ours(name string) bool {
	switch name {
	case "Host", mayfly.HeaderCall, mayfly.HeaderDeadline, mayfly.HeaderRemote:
		return true
	}
	return mayfly.IsHopByHop(name)
}

// CanonicalName returns a header's name as net/http writes it, and whether it is
// valid. A name that is canonical, as nearly all are, costs one look.
func CanonicalName(name string) (string, bool) {
	upper := true
	for i := range len(name) {
		c := name[i]
		if !tokens[c] {
			return name, false
		}
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return http.CanonicalHeaderKey(name), IsToken(name)
		}
		upper = c == '-'
	}
	return name, name != ""
}

// tokens are the bytes allowed in a method or header name (RFC 9110, 5.6.2).
var tokens = func() (is [256]bool) {
	for c := range 128 {
		is[c] = c > ' ' && c < 0x7f && strings.IndexByte(`"(),/:;<=>?@[\]{}`, byte(c)) < 0
	}
	return is
}()

// IsToken reports whether a text may be a method or a header's name.
func IsToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return s != ""
}

// Canonical checks a header line and makes its name canonical in place. Errors have
// code Crashed and complete a sentence about a reply.
func Canonical(line []byte) *mayfly.Error {
	i, upper := 0, true
	for ; i < len(line) && tokens[line[i]]; i++ {
		c := line[i]
		if upper && 'a' <= c && c <= 'z' {
			line[i] = c - ('a' - 'A')
		} else if !upper && 'A' <= c && c <= 'Z' {
			line[i] = c + ('a' - 'A')
		}
		upper = c == '-'
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return Malformed("invalid header line %q", mayfly.Clip(string(line)))
	}
	for _, c := range line[i:] {
		if c < ' ' && c != '\t' || c == 0x7f {
			return Malformed("header %s contains a control character", mayfly.Clip(string(line[:i])))
		}
	}
	return nil
}

// Status parses the three digits of a reply's status.
func Status(digits []byte) (status int, ok bool) {
	if len(digits) != 3 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		status = status*10 + int(c-'0')
	}
	return status, true
}

// Length parses a Content-Length: digits only.
func Length(s string) (int64, bool) {
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, s != ""
}

// Malformed returns an error that completes "the function's reply is malformed: ".
func Malformed(format string, args ...any) *mayfly.Error {
	return mayfly.Errorf(mayfly.Crashed, "the function's reply is malformed: "+format, args...)
}
