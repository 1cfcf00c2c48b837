package gateway

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/telemetry"
)

// finish counts and logs an exchange. A panic is answered as an internal error, or
// cuts the connection if the answer had begun, so that a truncated answer does not
// look complete.
func (g *Gateway) finish(x *exchange, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		x.cut = true
		defer panic(v) // the answer was cut on purpose; x.err says why
	default:
		g.options.Log.Error("gateway panicked", telemetry.KeyCall, x.id, telemetry.KeyErr, fmt.Sprintf("%v\n%s", v, debug.Stack()))
		if x.status != 0 {
			x.cut = true
			defer panic(http.ErrAbortHandler)
		}
		g.refuse(x, r, mayfly.Errorf(mayfly.Internal, "panic: %v", v))
	}
	took := time.Since(x.started)
	g.inFlight.Add(-1)
	g.statuses[min(max(x.status, 0), len(g.statuses)-1)].Add(1)
	g.durations[x.destination.kind].Observe(took)
	if x.err != nil {
		g.errors[mayfly.CodeOf(x.err)].Add(1)
	}
	if x.err != nil && mayfly.CodeOf(x.err) == mayfly.Internal {
		g.options.Log.Error("call failed", telemetry.KeyCall, x.id, telemetry.KeyRoute, x.route(), telemetry.KeyErr, x.err)
	}
	g.warnPreflight(x, r)
	if g.options.Access != nil {
		g.logAccess(x, r, took)
	}
}

// leave deals with what is left of the request's body, so that it belongs to the
// server again. Only an answer with a length is known to be complete before its
// handler returns: the client of any other would wait for its end.
func (g *Gateway) leave(x *exchange) {
	if x.cut || !x.body.left() || len(x.Header()["Content-Length"]) == 0 {
		x.upload.end(longAgo)
		return
	}
	_ = x.body.control().Flush()
	x.upload.end(time.Now().Add(quiet))
	x.body.linger(g.dispatch.MaxBody(), g.options.BodyTimeout)
}

// longAgo as a deadline ends a read that waits.
var longAgo = time.Unix(1, 0)

// An AccessLog is told of each exchange when it is over. In a node it writes a
// line. Log must not block.
type AccessLog interface{ Log(a telemetry.Access) }

// logAccess tells the access log. The query is left out, because clients put tokens
// there. The path is escaped, so that it has no control characters.
func (g *Gateway) logAccess(x *exchange, r *http.Request, took time.Duration) {
	a := telemetry.Access{
		Method: mayfly.Clip(r.Method), Path: mayfly.Clip(r.URL.EscapedPath()), Status: x.status, Took: took.Round(time.Microsecond),
		Bytes: x.bytes, Route: x.route(), Call: x.id,
	}
	if x.err != nil {
		a.Err = mayfly.Clip(x.err.Error())
	}
	g.options.Access.Log(a)
}

// Stats are what the gateway has seen since it was made.
type Stats struct {
	InFlight  int64
	Statuses  map[int]uint64                         // exchanges by HTTP status; 499 for clients that left
	Errors    map[mayfly.Code]uint64                 // exchanges that ended in an error of the gateway
	Durations map[string]telemetry.HistogramSnapshot // by kind: svc, fn, route, builtin, none
	Routes    int
	Shadowed  int
}

// Stats returns a snapshot.
func (g *Gateway) Stats() Stats {
	t := g.table.Load()
	s := Stats{
		InFlight: g.inFlight.Load(), Routes: len(t.entries), Shadowed: len(t.shadowed),
		Statuses: map[int]uint64{}, Errors: map[mayfly.Code]uint64{}, Durations: map[string]telemetry.HistogramSnapshot{},
	}
	for status := range g.statuses {
		if n := g.statuses[status].Load(); n > 0 {
			s.Statuses[status] = n
		}
	}
	for _, code := range mayfly.Codes() {
		s.Errors[code] = g.errors[code].Load()
	}
	for k := range g.durations {
		s.Durations[kindNames[k]] = g.durations[k].Snapshot()
	}
	return s
}
