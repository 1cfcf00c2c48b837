package httpengine

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// oneWrite is the largest body that is sent in one write with the headers. A socket
// buffers that much without a reader, so a function that replies without reading
// cannot deadlock both sides. Larger bodies are uploaded while the reply is read.
const oneWrite = 64 << 10

// appendRequest appends the call's request, with its body unless that is uploaded.
// Errors have code Invalid and name what is wrong with the call.
func appendRequest(b []byte, c *mayfly.Call, deadline time.Time) ([]byte, error) {
	start, lines := len(b), 2
	method := c.Method
	if method == "" {
		method = http.MethodPost
	}
	if !isToken(method) {
		return nil, mayfly.Errorf(mayfly.Invalid, "invalid method %q", mayfly.Clip(method))
	}
	b = append(b, method...)
	b = append(b, ' ')
	b, err := appendTarget(b, c.Path, c.Query)
	if err != nil {
		return nil, err
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if b, err = appendHost(b, c.Host); err != nil {
		return nil, err
	}
	b = append(b, "\r\n"...)
	for name, values := range c.Header {
		if canonical, valid := canonicalName(name); !valid {
			return nil, mayfly.Errorf(mayfly.Invalid, "invalid header name %q", mayfly.Clip(name))
		} else if ours(canonical) {
			continue
		}
		for _, value := range values {
			b = appendHeader(b, name, value)
			lines++
		}
	}
	if c.ID != "" {
		b = appendHeader(b, mayfly.HeaderCall, c.ID)
		lines++
	}
	if c.Remote != "" {
		b = appendHeader(b, mayfly.HeaderRemote, c.Remote)
		lines++
	}
	if !deadline.IsZero() {
		b = append(b, mayfly.HeaderDeadline+": "...)
		b = strconv.AppendInt(b, deadline.UnixMilli(), 10)
		b = append(b, "\r\n"...)
		lines++
	}
	switch length := bodyLength(c); {
	case length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		lines++
	case length > 0 || method != http.MethodGet && method != http.MethodHead:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
		lines++
	}
	b = append(b, "\r\n"...)
	// However it got into the head, a line that is not ours shows in the count.
	if head := b[start:]; bytes.Count(head, lineFeed) != lines+1 || bytes.Count(head, carriageReturn) != lines+1 || bytes.IndexByte(head, 0) >= 0 {
		return nil, mayfly.Errorf(mayfly.Invalid, "a header of the call contains a line break or NUL").
			WithHint("remove CR, LF and NUL from header values")
	}
	if !uploads(c) {
		b = append(b, c.Body...)
	}
	return b, nil
}

var lineFeed, carriageReturn = []byte{'\n'}, []byte{'\r'}

// uploads reports whether the call's body is sent while the reply is read.
func uploads(c *mayfly.Call) bool { return c.Stream != nil || len(c.Body) > oneWrite }

// bodyLength returns the length of the call's body, or -1 if unknown.
func bodyLength(c *mayfly.Call) int64 {
	if c.Stream != nil {
		return max(c.Length, -1)
	}
	return int64(len(c.Body))
}

// callDeadline returns when a reply must have begun, or zero if that time starts
// at the end of the request's stream.
func callDeadline(ctx context.Context, c *mayfly.Call, began time.Time, timeout time.Duration) time.Time {
	deadline := c.Deadline
	if deadline.IsZero() && c.Stream == nil && timeout > 0 {
		deadline = began.Add(timeout)
	}
	if d, ok := ctx.Deadline(); ok && (deadline.IsZero() || d.Before(deadline)) {
		deadline = d
	}
	return deadline
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

func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// ours reports whether the client writes a request header itself or never forwards
// it. The name is canonical.
func ours(name string) bool {
	switch name {
	case "Host", mayfly.HeaderCall, mayfly.HeaderDeadline, mayfly.HeaderRemote:
		return true
	}
	return mayfly.IsHopByHop(name)
}

// canonicalName returns a header's name as net/http writes it, and whether it is
// valid. A name that is canonical, as nearly all are, costs one look.
func canonicalName(name string) (string, bool) {
	upper := true
	for i := range len(name) {
		c := name[i]
		if !tokens[c] {
			return name, false
		}
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return http.CanonicalHeaderKey(name), isToken(name)
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

func isToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return s != ""
}
