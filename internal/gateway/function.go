package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
)

// Functions are those that this node serves, and its routes. In a node they are those
// of the roster.Roster, and the runner makes the calls.
type Functions interface {
	// Function returns the one with that name, or nil; then building reports whether
	// one is being built.
	Function(name mayfly.Name) (f *mayfly.Function, building bool)
	// Functions returns all, in any order.
	Functions() []*mayfly.Function
	// Routes returns those of this node in the order of precedence, in the same slice
	// until one changes.
	Routes() []mayfly.Route
	// Watch returns a channel with the names of functions that changed, until ctx
	// ends; the empty name stands for routes.
	Watch(ctx context.Context) <-chan map[mayfly.Name]struct{}
	// Call gives a function one call. Where the reply has a Stream, ctx governs
	// that too.
	Call(ctx context.Context, name mayfly.Name, c *mayfly.Call) (mayfly.Reply, error)
}

// noFunctions are the Functions of a gateway that was given none.
type noFunctions struct{}

func (noFunctions) Function(mayfly.Name) (*mayfly.Function, bool)         { return nil, false }
func (noFunctions) Functions() []*mayfly.Function                         { return nil }
func (noFunctions) Routes() []mayfly.Route                                { return nil }
func (noFunctions) Watch(context.Context) <-chan map[mayfly.Name]struct{} { return nil }

func (noFunctions) Call(_ context.Context, name mayfly.Name, _ *mayfly.Call) (mayfly.Reply, error) {
	return mayfly.Reply{}, noFunction(string(name))
}

func noFunction(name string) error {
	return mayfly.Errorf(mayfly.NotFound, "no function %q", clip(name)).
		WithHint("mayfly list shows what there is; services are under /svc/<service>/<endpoint>")
}

const (
	// functionTimeout is how long a function may take that does not tell.
	functionTimeout = 30 * time.Second

	// lastWord is how much longer a call over the bus waits: the function's node knows
	// better what took so long.
	lastWord = 500 * time.Millisecond
)

// serveFunction answers /fn/<name>[/<rest>]. The function sees /<rest>.
func (g *Gateway) serveFunction(x *exchange, r *http.Request) error {
	prefix, path, _ := strings.Cut(r.URL.EscapedPath()[1:], "/")
	escaped, rest, deeper := strings.Cut(path, "/")
	if deeper {
		rest = "/" + rest
	} else {
		rest = "/"
	}
	text, err := url.PathUnescape(escaped)
	if err != nil {
		return mayfly.Errorf(mayfly.Invalid, "the path has a bad escape")
	}
	name, err := mayfly.ParseName(text)
	if err != nil {
		return noFunction(text)
	}
	return g.callFunction(x, r, name, rest, "/"+prefix+"/"+escaped, nil)
}

// callFunction calls a function and answers with its reply. The function sees
// path, and prefix as X-Forwarded-Prefix if that is not empty. A function that this
// node holds is called without the bus, so that bodies may be long and replies
// streamed; any other by its subject.
func (g *Gateway) callFunction(x *exchange, r *http.Request, name mayfly.Name, path, prefix string, e *entry) error {
	x.kind, x.target = kindFunction, mayfly.FunctionSubject(name)
	if wantsAsync(r) {
		return noJobs()
	}
	here, building := g.functions.Function(name)
	local := here != nil && !g.options.Remote
	if building {
		return mayfly.Errorf(mayfly.Unavailable, "function %q is not built yet", name).
			WithHint("try again in a moment, or see what mayfly up says of its build")
	}
	var f mayfly.Function // its limits, as far as they are known here
	if here != nil {
		f = *here
	}
	timeout := time.Duration(f.Timeout)
	if here == nil {
		// Only names that somebody answers to become subjects.
		endpoint, err := g.directory.Lookup(r.Context(), string(name), mayfly.FunctionEndpoint)
		if mayfly.CodeOf(err) == mayfly.NotFound || err == nil && !isFunction(endpoint) {
			return noFunction(string(name))
		}
		if err != nil {
			return err
		}
		timeout = endpoint.Timeout()
	}
	c := g.newCall(x, r, mayfly.Subject(x.target), path, nil, cmp.Or(timeout, functionTimeout)+lastWord)
	if prefix != "" {
		c.Header["X-Forwarded-Prefix"] = []string{prefix}
	}
	if e != nil {
		for i, param := range e.params {
			c.Header[param] = []string{r.PathValue(e.Pattern.Params[i])}
		}
	}
	limit, key := g.options.MaxBody, "gateway.maxbody"
	if f.Body > 0 {
		limit, key = f.Body, "the function's body"
	}
	if !local {
		body, err := g.readBody(x, limit, key)
		if err != nil {
			return err
		}
		c.Body = body
		return g.call(x, r, c)
	}
	c.Deadline = time.Time{} // the runner's clock runs from the request's end
	if x.body.short() {
		body, err := g.readBody(x, limit, key)
		if err != nil {
			return err
		}
		c.Body = body
		return g.callHere(x, r, name, &c)
	}
	if x.body.length > limit {
		return tooLarge(limit, key)
	}
	up := &upload{g: g, body: x.body, left: limit, limit: limit, key: key}
	up.idle.L = &up.mu
	x.upload = up
	c.Stream, c.Length = up, x.body.length
	x.writeBy(time.Time{}) // an upload may take as long as it comes; callHere sets the time for the answer
	return g.callHere(x, r, name, &c)
}

// callHere calls a function of this node and answers with its reply.
func (g *Gateway) callHere(x *exchange, r *http.Request, name mayfly.Name, c *mayfly.Call) error {
	asked := time.Now()
	if x.upload == nil {
		// The runner ends what takes too long; the time to write counts from there.
		x.writeBy(time.Time{})
	}
	reply, err := g.functions.Call(r.Context(), name, c)
	x.bus, x.here = time.Since(asked), true
	if err != nil {
		if cause := x.upload.failure(); cause != nil {
			return cause // the client's fault, not the function's
		}
		return err
	}
	x.writeBy(time.Now().Add(g.options.WriteTimeout))
	if reply.Stream == nil {
		return g.writeReply(x, r, reply)
	}
	defer reply.Stream.Close()
	if notModified(r, reply) {
		reply.Stream = nil
		return g.writeReply(x, r, reply)
	}
	return g.writeStream(x, r, reply)
}

// An upload is a request's body on its way to a function. It is read as fast as
// the function reads, and bounded in size and in time: each uploadStep bytes of it
// must come within the body timeout, so that a client at a byte a second does not
// hold an instance.
type upload struct {
	g     *Gateway
	body  *body
	left  int64 // bytes that may still come
	step  int64 // bytes that may come before the deadline is moved
	limit int64
	key   string

	mu      sync.Mutex // the carrier reads while the answer is written
	idle    sync.Cond  // signalled when a Read ends; of mu
	err     error
	reading bool
	over    bool // the call is: nobody reads any more
}

const uploadStep = 64 << 10

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	if u.over {
		u.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	if u.step <= 0 {
		u.step = uploadStep
		u.body.bound(time.Now().Add(u.g.options.BodyTimeout))
	}
	u.reading = true
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		u.reading = false
		u.idle.Broadcast()
		u.mu.Unlock()
	}()
	n, err := u.body.Read(p)
	u.left -= int64(n)
	u.step -= int64(n)
	switch {
	case u.left < 0:
		return 0, u.fail(tooLarge(u.limit, u.key))
	case errors.Is(err, io.EOF):
		return n, io.EOF
	case err != nil:
		return n, u.fail(u.g.bodyError(err))
	}
	return n, nil
}

// end lets nobody read any more and waits until nobody does: the request's body is
// the server's again when its handler returns. A Read that waits for the client is
// woken at the given time, which costs the connection.
func (u *upload) end(wake time.Time) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for u.reading {
		u.body.bound(wake)
		u.idle.Wait()
	}
}

func (u *upload) fail(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
	return err
}

// failure returns why the body could not be read to its end, if so.
func (u *upload) failure() error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// errLeft is the end of a stream whose client has left.
var errLeft = mayfly.Errorf(mayfly.Timeout, "the client left in the middle of the answer")

// writeStream answers with a reply whose body comes bit by bit. Each bit goes out
// at once, and no faster than the client takes it.
func (g *Gateway) writeStream(x *exchange, r *http.Request, reply mayfly.Reply) error {
	buffer := buffers.Get().(*[streamBuffer]byte)
	defer buffers.Put(buffer)
	typed := len(reply.Header["Content-Type"]) > 0
	var n int
	var err error
	if !typed {
		// Without a word from the function its first bytes must tell. If none come there
		// is still time to say why.
		if n, err = reply.Stream.Read(buffer[:]); n == 0 && err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	h := x.Header()
	copyHeader(x, reply)
	h["X-Content-Type-Options"] = nosniff
	if reply.Length >= 0 {
		h["Content-Length"] = contentLength(reply.Length)
	}
	if !typed {
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
			// Half an answer must not look like a whole one: cut the connection.
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

// streamType says what a stream is that does not say so itself: its end is not
// known, so whether it is JSON cannot be.
func streamType(start []byte) []string {
	for i := 0; i < utf8.UTFMax && len(start) > 0 && !utf8.Valid(start); i++ {
		start = start[:len(start)-1] // a character may be cut in two
	}
	if utf8.Valid(start) {
		return typeText
	}
	return typeBinary
}

func noJobs() error {
	return withStatus(http.StatusNotImplemented, mayfly.Errorf(mayfly.Unavailable, "this version has no jobs").
		WithHint("call the function and wait for its reply; services take the header Prefer: respond-async"))
}
