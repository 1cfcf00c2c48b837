package frametest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
)

// A call is one request and its reply, whose body it is.
type call struct {
	node *Node
	id   uint32
	r    *http.Request
	stop func() bool // forgets the request's context

	stream io.ReadCloser // the request's body, if it is uploaded

	mu       sync.Mutex
	changed  *sync.Cond
	room     int            // that the instance grants for the request
	response *http.Response // nil before the head
	body     bytes.Buffer   // that has come and is not read
	granted  int            // that the instance may still send
	owed     int            // that was read and is not granted again
	left     int64          // of the body's length; -1 if that is unknown
	over     error          // why nothing more comes
}

func newCall(n *Node, r *http.Request) *call {
	c := &call{node: n, r: r, room: frame.Window, granted: frame.Window, left: -1}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// run sends the request and waits for the head of the reply.
func (c *call) run() (*http.Response, error) {
	c.send()
	c.stop = context.AfterFunc(c.r.Context(), func() { c.cancel(context.Cause(c.r.Context())) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.response == nil && c.over == nil {
		c.changed.Wait()
	}
	if c.response == nil {
		c.stop()
		return nil, c.over
	}
	return c.response, nil
}

// send sends a body that is in memory and fits with the head, any other as it comes.
func (c *call) send() {
	f := frame.Frame{Call: c.id, Kind: frame.Head, Head: []byte(requestHead(c.r))}
	switch body := c.r.Body; {
	case body == nil || body == http.NoBody:
		f.End = true
	case c.r.GetBody != nil && c.r.ContentLength <= frame.MaxBody:
		f.Body, _ = io.ReadAll(body)
		f.End = true
		body.Close()
	default:
		c.stream = body
	}
	c.node.Send(frame.Append(nil, f))
	if c.stream != nil {
		c.node.uploads.Go(c.upload)
	}
}

// upload sends a body as the instance grants it.
func (c *call) upload() {
	for b := make([]byte, frame.MaxBody); ; {
		c.mu.Lock()
		for c.room == 0 && c.over == nil {
			c.changed.Wait()
		}
		room, over := c.room, c.over
		c.mu.Unlock()
		if over != nil {
			return
		}
		n, err := c.stream.Read(b[:min(room, len(b))])
		f := frame.Frame{Call: c.id, Kind: frame.Data, Body: b[:n], End: err == io.EOF}
		if n > 0 || f.End {
			c.node.Send(frame.Append(nil, f))
		}
		c.mu.Lock()
		c.room -= n
		c.mu.Unlock()
		if err == io.EOF || c.r.Context().Err() != nil {
			return
		}
		if err != nil {
			c.node.Send(frame.Append(nil, frame.Frame{Call: c.id, Kind: frame.Error, Head: []byte(strings.ReplaceAll(err.Error(), "\n", " "))}))
			c.fail(err)
			return
		}
	}
}

// requestHead formats a request.
func requestHead(r *http.Request) string {
	var b strings.Builder
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	fmt.Fprintf(&b, "%s %s\nHost:%s\n", r.Method, r.URL.RequestURI(), host)
	for name, values := range r.Header {
		for _, value := range values {
			if !mayfly.IsHopByHop(name) {
				fmt.Fprintf(&b, "%s:%s\n", name, value)
			}
		}
	}
	bodiless := r.Body == nil || r.Body == http.NoBody
	if r.ContentLength > 0 || bodiless && r.Method != http.MethodGet && r.Method != http.MethodHead {
		fmt.Fprintf(&b, "Content-Length:%d\n", r.ContentLength)
	}
	return b.String()
}

// take takes a frame from the instance.
func (c *call) take(f frame.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	switch {
	case c.over != nil:
		return nil
	case f.Kind == frame.Credit:
		c.room += f.Granted()
		return nil
	case f.Kind == frame.Error && strings.ContainsAny(string(f.Head), "\r\n\x00"):
		return violation(fmt.Sprintf("the error %q is not a line", f.Head))
	case f.Kind == frame.Error:
		c.crash(string(f.Head), string(f.Body))
		return nil
	case (f.Kind == frame.Head) != (c.response == nil):
		return violation(fmt.Sprintf("frame of kind %d, but the head came: %v", f.Kind, c.response != nil))
	case f.Kind == frame.Head:
		if err := c.head(string(f.Head), f.End, len(f.Body)); err != nil {
			return err
		}
	}
	if c.granted -= len(f.Body); c.granted < 0 {
		return violation("more body than was granted")
	}
	c.data(f.Body, f.End)
	return nil
}

// data takes a part of the body. mu is held.
func (c *call) data(b []byte, end bool) {
	if c.bodiless() {
		b = nil
	}
	c.body.Write(b)
	if c.left >= 0 {
		c.left -= int64(len(b))
	}
	switch {
	case c.response.ContentLength >= 0 && c.left < 0:
		c.finish(fmt.Errorf("the body is longer than its length"))
	case end && c.left > 0:
		c.finish(io.ErrUnexpectedEOF)
	case end:
		c.finish(io.EOF)
	}
}

// bodiless reports whether the reply has no body, whatever comes. mu is held.
func (c *call) bodiless() bool {
	status := c.response.StatusCode
	return c.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

// head begins the reply. mu is held.
func (c *call) head(text string, end bool, size int) error {
	if !strings.HasSuffix(text, "\n") || strings.ContainsAny(text, "\r\x00") {
		return violation(fmt.Sprintf("the head %q", text))
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	status, err := strconv.Atoi(lines[0])
	if err != nil || len(lines[0]) != 3 {
		return violation(fmt.Sprintf("the status %q", lines[0]))
	}
	header := http.Header{}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || name != strings.TrimSpace(name) || value != strings.TrimSpace(value) {
			return violation(fmt.Sprintf("the header line %q", line))
		}
		if name = textproto.CanonicalMIMEHeaderKey(name); !mayfly.IsReserved(name) && (!mayfly.IsHopByHop(name) || name == "Content-Length") {
			header.Add(name, value)
		}
	}
	c.response = &http.Response{
		Status: lines[0] + " " + http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: c, ContentLength: -1, Request: c.r,
	}
	if end && !c.bodiless() && header.Get("Content-Length") == "" {
		header.Set("Content-Length", strconv.Itoa(size)) // as a node adds it
	}
	if length := header.Get("Content-Length"); length != "" {
		if c.response.ContentLength, err = strconv.ParseInt(length, 10, 64); err != nil || c.response.ContentLength < 0 {
			return violation(fmt.Sprintf("the length %q", length))
		}
	}
	if c.left = c.response.ContentLength; c.bodiless() {
		c.left = 0
	}
	return nil
}

// crash ends a call whose code failed. mu is held.
func (c *call) crash(line, trace string) {
	if c.response != nil {
		c.finish(fmt.Errorf("the reply broke off: %s", line))
		return
	}
	c.response = &http.Response{
		Status: "502 Bad Gateway", StatusCode: http.StatusBadGateway, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{mayfly.HeaderCrash: {line}, "Content-Type": {"text/plain; charset=utf-8"}},
		ContentLength: int64(len(trace)), Body: c, Request: c.r,
	}
	c.body.WriteString(trace)
	c.finish(io.EOF)
}

// finish ends the call. mu is held.
func (c *call) finish(why error) {
	if c.over == nil {
		c.over = why
		c.node.forget(c)
		c.changed.Broadcast()
		if c.stream != nil {
			c.stream.Close() // ends the upload
		}
	}
}

// fail ends the call because something broke. The node's lock is free.
func (c *call) fail(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish(why)
}

// cancel tells the instance that nobody waits.
func (c *call) cancel(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over == nil {
		c.node.Send(frame.Append(nil, frame.Frame{Call: c.id, Kind: frame.Cancel}))
		c.body.Reset()
		c.finish(why)
	}
}

// Read implements io.Reader. It grants what was read, in larger pieces.
func (c *call) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.body.Len() == 0 && c.over == nil {
		c.changed.Wait()
	}
	if c.body.Len() == 0 {
		c.stop()
		return 0, c.over
	}
	n, _ := c.body.Read(p)
	if c.owed += n; c.owed >= frame.Window/4 && c.over == nil {
		c.node.Send(frame.AppendCredit(nil, c.id, uint32(c.owed)))
		c.granted, c.owed = c.granted+c.owed, 0
	}
	return n, nil
}

// Close implements io.Closer. A body that has not ended is canceled.
func (c *call) Close() error {
	c.stop()
	c.cancel(os.ErrClosed)
	return nil
}
