package httpengine

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/head"
)

// Limits of a reply.
const (
	maxHead     = 64 << 10 // bytes of status line and headers
	maxTrailers = 4 << 10  // bytes
	wholeBody   = 64 << 10 // up to this, a body of known length is read whole
	maxTrace    = 64 << 10 // of a crash's body
	maxInterim  = 16       // replies of 1xx before the reply
)

// A replyHead is a reply's status line and headers.
type replyHead struct {
	status  int
	header  http.Header // canonical, without hop-by-hop and reserved headers
	length  int64       // of the body; -1 if it is chunked or ends with the connection
	chunked bool
	last    bool   // the connection ends with this reply
	crash   string // Mayfly-Crash
}

// headEnd returns the length of the head at the start of b, including the empty
// line, or 0 if it is incomplete.
func headEnd(b []byte) int {
	for at := 0; ; {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return 0
		}
		at += n + 1
		if rest := b[at:]; len(rest) > 0 && rest[0] == '\n' {
			return at + 1
		} else if len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n' {
			return at + 2
		}
	}
}

// parseHead parses b, a whole head including its empty line, as the reply to a
// request with the given method. It makes header names canonical in b. It is
// stricter than net/http, so that every reader understands what passes the same way.
// Errors have code Crashed.
func parseHead(b []byte, method string) (replyHead, error) {
	var h replyHead
	line, b := cutLine(b)
	if err := h.parseStatus(line); err != nil {
		return h, err
	}
	n := 0
	for rest := b; ; n++ {
		if line, rest = cutLine(rest); len(line) == 0 {
			break
		}
		if err := canonical(line); err != nil {
			return h, err
		}
	}
	// The header is cut from one string, and all values share one array.
	text, values := string(b), make([]string, n)
	h.header = make(http.Header, n)
	framing := framing{length: -1, old: h.last}
	for i := range n {
		end := strings.IndexByte(text, '\n')
		name, value, _ := strings.Cut(text[:end], ":")
		value, text = strings.Trim(value, " \t\r"), text[end+1:]
		if known, err := framing.take(name, value); err != nil {
			return h, err
		} else if known {
			continue
		}
		switch {
		case name == mayfly.HeaderCrash:
			h.crash = value
		case mayfly.IsHopByHop(name), mayfly.IsReserved(name):
		default:
			if before := h.header[name]; before != nil {
				h.header[name] = append(before, value)
				continue
			}
			values[i] = value
			h.header[name] = values[i : i+1 : i+1]
		}
	}
	return h, h.frame(framing, method)
}

// parseStatus parses a status line such as "HTTP/1.1 200 OK".
func (h *replyHead) parseStatus(line []byte) error {
	const example = "HTTP/1.1 200"
	if len(line) < len(example) || string(line[:7]) != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' ||
		len(line) > len(example) && line[len(example)] != ' ' {
		return malformed("its first line is %q", mayfly.Clip(string(line)))
	}
	status, ok := head.Status(line[9:12])
	if !ok {
		return malformed("its first line is %q", mayfly.Clip(string(line)))
	}
	h.status = status
	if h.status < 100 || h.status > 599 {
		return malformed("%d is not an HTTP status", h.status)
	}
	h.last = line[7] == '0'
	return nil
}

// framing collects what the headers say about the body and the connection.
type framing struct {
	old        bool  // HTTP/1.0
	length     int64 // -1 if not given
	encoding   bool
	connection []string
}

// take reports whether the header is a framing header.
func (f *framing) take(name, value string) (bool, error) {
	switch name {
	case "Content-Length":
		length, ok := head.Length(value)
		if !ok || f.length >= 0 && f.length != length {
			return true, malformed("its Content-Length is %q", mayfly.Clip(value))
		}
		f.length = length
	case "Transfer-Encoding":
		if f.encoding || !strings.EqualFold(value, "chunked") {
			return true, malformed("its Transfer-Encoding is %q", mayfly.Clip(value))
		}
		f.encoding = true
	case "Connection":
		f.connection = append(f.connection, value)
	default:
		return false, nil
	}
	return true, nil
}

// frame decides where the body ends (RFC 9112, 6.3) and whether the connection
// outlives the reply.
func (h *replyHead) frame(f framing, method string) error {
	for _, list := range f.connection {
		for option := range strings.SplitSeq(list, ",") {
			switch option = http.CanonicalHeaderKey(strings.Trim(option, " \t")); option {
			case "Close":
				h.last = true
			default:
				delete(h.header, option)
			}
		}
	}
	switch {
	case f.encoding && f.length >= 0:
		return malformed("it has both a Content-Length and a Transfer-Encoding")
	case f.encoding && f.old:
		return malformed("HTTP/1.0 has no Transfer-Encoding")
	case method == http.MethodHead && f.length >= 0:
		h.header["Content-Length"] = []string{strconv.FormatInt(f.length, 10)} // what GET would return
		h.length = 0
	case method == http.MethodHead, h.status < 200, h.status == http.StatusNoContent, h.status == http.StatusNotModified:
		h.length = 0
	case f.encoding:
		h.length, h.chunked = -1, true
	default:
		h.length = f.length
		h.last = h.last || h.length < 0
	}
	return nil
}

// cutLine returns b's first line without its end, and the rest. b contains a line end.
func cutLine(b []byte) (line, rest []byte) {
	n := bytes.IndexByte(b, '\n')
	line, rest = b[:n], b[n+1:]
	return bytes.TrimSuffix(line, []byte{'\r'}), rest
}

const replyHint = "it must answer HTTP/1.1 on $MAYFLY_SOCKET or 127.0.0.1:$PORT"

// canonical checks a header line and makes its name canonical in place.
func canonical(line []byte) error {
	if err := head.Canonical(line); err != nil {
		return err.WithHint(replyHint)
	}
	return nil
}

// malformed returns an error that completes "the function's reply is malformed: ".
func malformed(format string, args ...any) error {
	return head.Malformed(format, args...).WithHint(replyHint)
}
