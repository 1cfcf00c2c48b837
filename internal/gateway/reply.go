package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
)

// writeReply answers with a reply. net/http drops header names that are no names
// and turns CR and LF in values into spaces, so a reply cannot forge an answer.
func (g *Gateway) writeReply(x *exchange, r *http.Request, reply mayfly.Reply) error {
	if reply.Error != "" && len(reply.Body) == 0 {
		g.writeServiceError(x, reply)
		return nil
	}
	h := x.Header()
	for name, values := range reply.Header {
		if !hopByHop[name] {
			h[name] = append(h[name], values...) // CORS may have set Vary
		}
	}
	if reply.Error != "" {
		h.Set(mayfly.HeaderError, oneLine(reply.Error))
	}
	h["X-Content-Type-Options"] = nosniff
	g.stamp(x)
	status := reply.Status
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if status == http.StatusOK && etagMatches(r.Header["If-None-Match"], h.Get("Etag")) {
			status = http.StatusNotModified
		}
	}
	body := reply.Body
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body = nil
	} else {
		if len(h["Content-Type"]) == 0 {
			h["Content-Type"] = contentType(body)
		}
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	g.allowTime(x)
	x.WriteHeader(status)
	if r.Method != http.MethodHead && len(body) > 0 {
		_, _ = x.Write(body) // the client may be gone
	}
	return nil
}

// writeServiceError answers for a service that said what went wrong but sent no
// body: its words become a problem, so that a person with curl sees them.
func (g *Gateway) writeServiceError(x *exchange, reply mayfly.Reply) {
	h := x.Header()
	for name, values := range reply.Header {
		if !hopByHop[name] {
			h[name] = append(h[name], values...)
		}
	}
	h.Set(mayfly.HeaderError, oneLine(reply.Error))
	g.stamp(x)
	writeProblem(x, problem{
		Title: http.StatusText(reply.Status), Status: reply.Status,
		Code:   mayfly.CodeOfStatus(reply.Status).String(),
		Detail: reply.Error, Call: x.id,
	})
}

// allowTime gives a client the full time to take an answer that was long in
// coming: the server's own deadline counts from the request.
func (g *Gateway) allowTime(x *exchange) {
	if now := time.Now(); now.Sub(x.started) > g.options.WriteTimeout/10 {
		_ = http.NewResponseController(x.ResponseWriter).SetWriteDeadline(now.Add(g.options.WriteTimeout))
	}
}

var (
	nosniff    = []string{"nosniff"}
	typeJSON   = []string{"application/json"}
	typeText   = []string{"text/plain; charset=utf-8"}
	typeBinary = []string{"application/octet-stream"}
)

// contentType says what a body without a Content-Type is. The slices are shared
// and never changed.
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

// looksJSON spares the whole parse for bodies that cannot be JSON.
func looksJSON(c byte) bool {
	return strings.IndexByte("{[\"-0123456789tfn \t\r\n", c) >= 0
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

// oneLine makes text fit into a header: bounded, without control characters.
func oneLine(s string) string {
	const most = 1024
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
