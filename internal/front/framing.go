package front

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// A framing notices a head with both Content-Length and Transfer-Encoding among the bytes
// of a connection. net/http hides that from its handlers, but a proxy in front that goes by
// the other header takes part of this request for the next one, so the connection must
// close after the answer (RFC 9112, 6.1). A body that looks like such a head closes it too.
type framing struct {
	line          []byte // the start of the current line
	length, coded bool   // seen in the current head
	both          atomic.Bool
}

const transferEncoding = "Transfer-Encoding:"

func (f *framing) see(b []byte) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		f.line = append(f.line, line[:min(len(line), len(transferEncoding)-len(f.line))]...)
		if !whole {
			return
		}
		switch text := string(f.line); {
		case text == "" || text == "\r":
			f.length, f.coded = false, false
		case begins(text, "Content-Length:"):
			f.length = true
		case begins(text, transferEncoding):
			f.coded = true
		}
		if f.length && f.coded {
			f.both.Store(true)
		}
		f.line, b = f.line[:0], rest
	}
}

// begins ignores case.
func begins(s, start string) bool {
	return len(s) >= len(start) && strings.EqualFold(s[:len(start)], start)
}

type framingKey struct{}

// withFraming lets closeAmbiguous find what has been seen on c.
func withFraming(ctx context.Context, c net.Conn) context.Context {
	if r, ok := c.(*replay); ok {
		return context.WithValue(ctx, framingKey{}, &r.framing)
	}
	return ctx
}

// closeAmbiguous closes connections whose requests may be framed in two ways. Where the
// bytes cannot be seen, as below TLS, those are all chunked ones of HTTP/1.
func closeAmbiguous(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, seen := r.Context().Value(framingKey{}).(*framing)
		if seen && f.both.Load() || !seen && r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
			w.Header()["Connection"] = []string{"close"}
		}
		next.ServeHTTP(w, r)
	})
}
