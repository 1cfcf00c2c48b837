package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
)

// begin starts an answer with the headers that every answer has.
func (g *Gateway) begin(x *exchange, status int) {
	h := x.Header()
	h[mayfly.HeaderCallID] = x.one(x.id)
	if x.bus > 0 {
		var text [32]byte
		ms := append(text[:0], "bus;dur="...)
		if x.target.Here {
			ms = append(text[:0], "fn;dur="...)
		}
		took := string(strconv.AppendFloat(ms, float64(x.bus)/float64(time.Millisecond), 'f', 3, 64))
		if own := h[mayfly.HeaderTiming]; own != nil {
			h[mayfly.HeaderTiming] = append(own, took) // the service's own come first
		} else {
			h[mayfly.HeaderTiming] = x.one(took)
		}
	}
	if now := time.Now(); now.Sub(x.started) > g.options.WriteTimeout/10 {
		x.writeBy(now.Add(g.options.WriteTimeout)) // a slow reply does not shorten the client's time
	}
	if x.body.answer(g.options.BodyTimeout) {
		h["Connection"] = connectionClose
	}
	x.WriteHeader(status)
}

var connectionClose = []string{"close"}

// writeReply answers with a reply, whose Stream it closes.
func (g *Gateway) writeReply(x *exchange, r *http.Request, reply mayfly.Reply) error {
	if reply.Stream != nil {
		defer reply.Stream.Close()
		if !notModified(r, reply) {
			return g.writeStream(x, r, reply)
		}
	}
	if reply.Error != "" && len(reply.Body) == 0 && reply.Status >= 400 {
		g.writeServiceError(x, reply)
		return nil
	}
	h := x.Header()
	copyHeader(x, reply)
	g.belowPrefix(x, r)
	h["X-Content-Type-Options"] = nosniff
	status := reply.Status
	if notModified(r, reply) {
		status = http.StatusNotModified
	}
	body := reply.Body
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body = nil
	} else {
		if len(h["Content-Type"]) == 0 {
			h["Content-Type"] = contentType(body)
		}
		if n := int64(len(body)); !x.head || n > 0 {
			h["Content-Length"] = x.one(strconv.FormatInt(n, 10))
		} else if n, err := strconv.ParseUint(reply.Header.Get("Content-Length"), 10, 63); err == nil {
			h["Content-Length"] = x.one(strconv.FormatUint(n, 10)) // what GET would have
		}
	}
	g.begin(x, status)
	if len(body) > 0 {
		_, _ = x.Write(body) // the client may be gone
	}
	return nil
}

// errLeft ends a stream whose client has left.
var errLeft = mayfly.Errorf(mayfly.Timeout, "canceled by the client mid-reply")

// writeStream answers with a reply whose body arrives in pieces. Each is flushed at
// once, and read no faster than the client takes it.
func (g *Gateway) writeStream(x *exchange, r *http.Request, reply mayfly.Reply) error {
	buffer := buffers.Get().(*[streamBuffer]byte)
	defer buffers.Put(buffer)
	typed := len(reply.Header["Content-Type"]) > 0
	var n int
	var err error
	if !typed {
		// The first bytes tell the type. If none arrive, there is still time for a problem.
		if n, err = reply.Stream.Read(buffer[:]); n == 0 && err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	h := x.Header()
	copyHeader(x, reply)
	g.belowPrefix(x, r)
	h["X-Content-Type-Options"] = nosniff
	if reply.Length >= 0 {
		h["Content-Length"] = x.one(strconv.FormatInt(reply.Length, 10))
	}
	if !typed && reply.Status != http.StatusNoContent {
		h["Content-Type"] = streamType(buffer[:n])
	}
	g.begin(x, reply.Status)
	control := http.NewResponseController(x.ResponseWriter)
	if typed {
		_ = control.Flush() // an event stream's client waits for the head
	}
	for ; ; n, err = reply.Stream.Read(buffer[:]) {
		if n > 0 {
			x.writeBy(time.Now().Add(g.options.WriteTimeout))
			if _, werr := x.Write(buffer[:n]); werr != nil {
				x.err = errLeft
				return nil
			}
			_ = control.Flush()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			// A truncated answer must not look complete: cut the connection.
			if x.err = err; r.Context().Err() != nil {
				x.err = errLeft
			}
			panic(http.ErrAbortHandler)
		}
	}
}

// streamBuffer is how much of a stream is held at once.
const streamBuffer = 32 << 10

var buffers = sync.Pool{New: func() any { return new([streamBuffer]byte) }}

// streamType guesses the type of a stream that has none. Whether it is JSON only its
// end would tell.
func streamType(start []byte) []string {
	for i := 0; i < utf8.UTFMax && len(start) > 0 && !utf8.Valid(start); i++ {
		start = start[:len(start)-1] // a character may be cut in two
	}
	if utf8.Valid(start) {
		return typeText
	}
	return typeBinary
}

// copyHeader copies a reply's headers to the answer. The gateway's own CORS headers
// win. net/http drops invalid names; control characters in values become spaces, so
// that a reply cannot forge an answer.
func copyHeader(x *exchange, reply mayfly.Reply) {
	h := x.Header()
	for name, values := range reply.Header {
		if mayfly.IsHopByHop(name) || x.cors != nil && strings.HasPrefix(name, "Access-Control-") {
			continue
		}
		if slices.ContainsFunc(values, hasControl) {
			values = slices.Clone(values)
			for i, v := range values {
				values[i] = strings.Map(withoutControl, v)
			}
		}
		if before := h[name]; before != nil { // CORS may have set Vary
			h[name] = append(before, values...)
		} else {
			h[name] = values[:len(values):len(values)] // shared with the reply
		}
	}
	if reply.Error != "" {
		h.Set(mayfly.HeaderError, oneLine(reply.Error))
	}
}

// writeServiceError answers for a service that returned an error without a body: its
// message becomes a problem, so that a person with curl sees it.
func (g *Gateway) writeServiceError(x *exchange, reply mayfly.Reply) {
	copyHeader(x, reply)
	x.Header().Del("Content-Encoding") // described the body, which is empty
	g.writeProblem(x, problem{
		Title: http.StatusText(reply.Status), Status: reply.Status,
		Code:   mayfly.CodeOfStatus(reply.Status).String(),
		Detail: reply.Error, Call: x.id,
	})
}

var (
	nosniff    = []string{"nosniff"}
	typeJSON   = []string{"application/json"}
	typeText   = []string{"text/plain; charset=utf-8"}
	typeBinary = []string{"application/octet-stream"}
)

// contentType guesses the type of a body that has none. The slices are shared and
// must not be changed.
func contentType(body []byte) []string {
	switch {
	case len(body) == 0:
		return typeText
	case looksJSON(body[0]) && json.Valid(body):
		return typeJSON
	case utf8.Valid(body):
		return typeText
	default:
		return typeBinary
	}
}

// looksJSON saves parsing bodies that cannot be JSON.
func looksJSON(c byte) bool {
	return strings.IndexByte("{[\"-0123456789tfn \t\r\n", c) >= 0
}

// notModified reports whether the client has the reply already.
func notModified(r *http.Request, reply mayfly.Reply) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && reply.Status == http.StatusOK &&
		etagMatches(r.Header["If-None-Match"], reply.Header.Get("Etag"))
}

// etagMatches is the weak comparison of If-None-Match (RFC 9110, 13.1.2).
func etagMatches(given []string, etag string) bool {
	if etag == "" || len(given) == 0 {
		return false
	}
	etag = strings.TrimPrefix(etag, "W/")
	for _, list := range given {
		for tag := range strings.SplitSeq(list, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || tag == etag {
				return true
			}
		}
	}
	return false
}

// oneLine makes text fit into a header: short, without control characters.
func oneLine(s string) string {
	const most = 1024
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.Map(withoutControl, s)
}

// isControl reports whether r must not be in a header's value; a tab may.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func hasControl(s string) bool { return strings.ContainsFunc(s, isControl) }

func withoutControl(r rune) rune {
	if isControl(r) {
		return ' '
	}
	return r
}
