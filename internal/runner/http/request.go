package httpengine

import (
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/head"
)

// oneWrite is the largest body that is sent in one write with the headers. A socket
// buffers that much without a reader, so a function that replies without reading
// cannot deadlock both sides. Larger bodies are uploaded while the reply is read.
const oneWrite = 64 << 10

// http11 is how a head is written here.
var http11 = head.Dialect{Version: " HTTP/1.1", Colon: ": ", End: "\r\n", Chunked: true}

// appendRequest appends the call's request, with its body unless that is uploaded.
// Errors have code Invalid and name what is wrong with the call.
func appendRequest(b []byte, c *mayfly.Call, deadline time.Time) ([]byte, error) {
	b, err := head.Append(b, c, deadline, http11)
	if err != nil {
		return nil, err
	}
	b = append(b, "\r\n"...)
	if !uploads(c) {
		b = append(b, c.Body...)
	}
	return b, nil
}

// uploads reports whether the call's body is sent while the reply is read.
func uploads(c *mayfly.Call) bool { return c.Stream != nil || len(c.Body) > oneWrite }
