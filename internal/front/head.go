package front

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// The rules for a plain head. A head that breaks one is not rejected but handed over, so
// a rule may be stricter than HTTP but never laxer:
//
//	head    = method SP target SP "HTTP/1.1" CRLF *( name ":" value CRLF ) CRLF
//	method  = one of methods
//	target  = "/" and visible ASCII, as net/url accepts it
//	name    = token, at most mostFields of them
//	value   = visible ASCII, spaces and tabs
//
// Host appears once, with only letters, digits and -_.:[]. Content-Length appears at
// most once, with only digits. Connection appears at most once, as close or keep-alive.
// None of oddHeaders appears.

const (
	// mostFields is the most headers of a plain head.
	mostFields = 40

	// mostDigits of a Content-Length always fit into an int64.
	mostDigits = 18
)

// methods are the plain methods.
var methods = []string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodHead, http.MethodOptions,
}

// oddHeaders change how a request is read or answered.
var oddHeaders = []string{"Transfer-Encoding", "Expect", "Upgrade", "Trailer", "Pragma", "Http2-Settings"}

// A verdict is scan's judgment of the bytes read so far.
type verdict int

const (
	plain verdict = iota // a whole plain head
	short                // the start of one
	odd                  // left to net/http
)

// A span is a range of the head's bytes.
type span struct{ from, to int }

func (s span) of(text string) string { return text[s.from:s.to] }

// A head locates the parts of a request's head. It is reused.
type head struct {
	size   int // bytes, including the empty line
	method string
	target span
	fields [mostFields]struct{ name, value span }
	n      int // fields

	host    span  // empty until seen: an empty Host is odd
	length  int64 // Content-Length; -1 if absent
	closing bool  // Connection: close
	coupled bool  // Connection was seen
}

// scan parses a head at the start of b. It judges each line as soon as it is complete,
// so that a client whose head has no end learns of its fault at once.
func (h *head) scan(b []byte) verdict {
	h.n, h.host, h.length, h.closing, h.coupled = 0, span{}, -1, false, false
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return h.beginning(b)
	}
	if !h.requestLine(b[:end]) {
		return odd
	}
	for at := end + 1; ; {
		end := bytes.IndexByte(b[at:], '\n')
		if end < 0 {
			return short
		}
		line := b[at : at+end]
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return odd
		}
		line = line[:len(line)-1]
		if len(line) == 0 {
			h.size = at + end + 1
			if h.host == (span{}) {
				return odd
			}
			return plain
		}
		if h.n == mostFields || !h.field(b, at, at+len(line)) {
			return odd
		}
		at += end + 1
	}
}

// beginning judges an incomplete request line by its first bytes: other protocols, such
// as TLS, may never send a line feed.
func (h *head) beginning(b []byte) verdict {
	for _, method := range methods {
		if n := min(len(method), len(b)); string(b[:n]) == method[:n] {
			return short
		}
	}
	return odd
}

// requestLine parses the first line, without its line feed.
func (h *head) requestLine(line []byte) bool {
	const version = " HTTP/1.1\r"
	h.method = ""
	for _, method := range methods {
		if len(line) > len(method) && line[len(method)] == ' ' && string(line[:len(method)]) == method {
			h.method = method
			break
		}
	}
	if h.method == "" || !bytes.HasSuffix(line, []byte(version)) {
		return false
	}
	h.target = span{len(h.method) + 1, len(line) - len(version)}
	if h.target.from >= h.target.to || line[h.target.from] != '/' {
		return false
	}
	for _, c := range line[h.target.from:h.target.to] {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// field parses the header in b[from:to].
func (h *head) field(b []byte, from, to int) bool {
	colon := from
	for colon < to && isToken[b[colon]] {
		colon++
	}
	if colon == from || colon == to || b[colon] != ':' {
		return false
	}
	value := span{colon + 1, to}
	for value.from < value.to && isSpace(b[value.from]) {
		value.from++
	}
	for value.from < value.to && isSpace(b[value.to-1]) {
		value.to--
	}
	for _, c := range b[value.from:value.to] {
		if c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	f := &h.fields[h.n]
	f.name, f.value = span{from, colon}, value
	h.n++
	return h.meaning(b[from:colon], b, value)
}

// meaning notes what a header says about the request's framing, and reports whether that
// is plain.
func (h *head) meaning(name, b []byte, value span) bool {
	v := b[value.from:value.to]
	switch {
	case is(name, "Host"):
		if h.host != (span{}) || len(v) == 0 {
			return false
		}
		h.host = value
		for _, c := range v {
			if !isHost[c] {
				return false
			}
		}
	case is(name, "Content-Length"):
		if h.length >= 0 || len(v) == 0 || len(v) > mostDigits {
			return false
		}
		h.length = 0
		for _, c := range v {
			if c < '0' || c > '9' {
				return false
			}
			h.length = 10*h.length + int64(c-'0')
		}
	case is(name, "Connection"):
		h.closing = is(v, "close")
		if h.coupled || !h.closing && !is(v, "keep-alive") {
			return false
		}
		h.coupled = true
	default:
		for _, o := range oddHeaders {
			if is(name, o) {
				return false
			}
		}
	}
	return true
}

// is compares, ignoring case.
func is(b []byte, name string) bool {
	return len(b) == len(name) && strings.EqualFold(string(b), name)
}

// url parses the head's target in text. An error means that the head is odd after all.
func (h *head) url(text string, u *url.URL) error {
	target := h.target.of(text)
	path, query, asked := strings.Cut(target, "?")
	for i := range len(path) {
		if !isPath[path[i]] {
			parsed, err := url.ParseRequestURI(target)
			if err == nil {
				*u = *parsed
			}
			return err
		}
	}
	u.Path, u.RawQuery, u.ForceQuery = path, query, asked && query == ""
	return nil
}

// roomForMore is how many headers a handler may add to a request's without growing the map.
const roomForMore = 2

// header returns the headers without Host in a new map. The strings share text, the slices
// one array: room, if it is large enough.
func (h *head) header(text string, room []string) http.Header {
	all := make(http.Header, h.n+roomForMore)
	values := room
	if h.n > len(values) {
		values = make([]string, h.n)
	}
	for i, f := range h.fields[:h.n] {
		if f.value == h.host {
			continue
		}
		name := textproto.CanonicalMIMEHeaderKey(f.name.of(text))
		values[i] = f.value.of(text)
		if before := all[name]; before != nil {
			all[name] = append(before, values[i])
		} else {
			all[name] = values[i : i+1 : i+1]
		}
	}
	return all
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// isToken holds the bytes of a token (RFC 9110, 5.6.2), isHost those of a plain Host, isPath those
// that mean themselves in a path, to net/url too.
var isToken, isHost, isPath = bytesOf("!#$%&'*+-.^_`|~"), bytesOf("-_.:[]"), bytesOf("-_.~$&+,/:;=@")

// bytesOf returns the set of ASCII letters, digits and the bytes of more.
func bytesOf(more string) (set [256]bool) {
	for c := range 256 {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		set[c] = letter || c >= '0' && c <= '9' || strings.IndexByte(more, byte(c)) >= 0
	}
	return set
}
