package bus

import (
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

// maxReplyHeader bounds the headers of a reply, in bytes.
const maxReplyHeader = 64 << 10

// encode makes the message of a call. It adds Mayfly's headers to the call's own
// map, which it owns by mayfly.Call's contract. left is how much time the call has.
func encode(c mayfly.Call, left time.Duration) *nats.Msg {
	h := c.Header
	if h == nil {
		h = make(http.Header, 8)
	}
	values := make([]string, 0, 8) // one array for the eight one-element slices
	set := func(key, value string) {
		if value == "" {
			return
		}
		values = append(values, value)
		n := len(values)
		h[key] = values[n-1 : n : n]
	}
	set(mayfly.HeaderMethod, c.Method)
	set(mayfly.HeaderPath, c.Path)
	set(mayfly.HeaderQuery, c.Query)
	set(mayfly.HeaderHost, c.Host)
	set(mayfly.HeaderRemote, c.Remote)
	set(mayfly.HeaderCall, c.ID)
	if !c.Deadline.IsZero() {
		set(mayfly.HeaderDeadline, strconv.FormatInt(c.Deadline.UnixMilli(), 10))
		set(mayfly.HeaderTimeout, strconv.FormatInt(max(1, left.Milliseconds()), 10))
	}
	return &nats.Msg{Subject: string(c.Subject), Header: nats.Header(h), Data: c.Body}
}

// timeLeft returns how long it is until a deadline; forever, if that is zero.
func timeLeft(deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return math.MaxInt64
	}
	return time.Until(deadline)
}

// wireSize returns what m counts against max_payload: body and encoded headers.
func wireSize(m *nats.Msg) int64 {
	n := int64(len(m.Data))
	if len(m.Header) == 0 {
		return n
	}
	return n + headerSize(m.Header) + int64(len("NATS/1.0\r\n\r\n"))
}

func headerSize(h nats.Header) (n int64) {
	for k, vs := range h {
		for _, v := range vs {
			n += int64(len(k) + len(v) + len(": \r\n"))
		}
	}
	return n
}

// decode turns an untrusted message into a Reply. One that breaks the protocol is an
// error with code Crashed: the service is at fault.
func decode(m *nats.Msg) (mayfly.Reply, error) {
	r := mayfly.Reply{Status: http.StatusOK, Body: m.Data}
	if len(m.Header) == 0 {
		return r, nil
	}
	if n := headerSize(m.Header); n > maxReplyHeader {
		return r, mayfly.Errorf(mayfly.Crashed, "the reply has %d bytes of headers: at most %d are allowed", n, maxReplyHeader)
	}
	header := make(http.Header, len(m.Header))
	var code, status, fault, hint string
	for k, vs := range m.Header {
		if len(vs) == 0 {
			continue
		}
		key := textproto.CanonicalMIMEHeaderKey(k)
		switch {
		case key == mayfly.HeaderStatus:
			status = vs[0]
		case key == mayfly.HeaderErrorCode:
			code = vs[0]
		case key == mayfly.HeaderError:
			r.Error = vs[0]
		case key == mayfly.HeaderFault:
			fault = vs[0]
		case key == mayfly.HeaderHint:
			hint = vs[0]
		case mayfly.IsReserved(key):
		default:
			header[key] = append(header[key], vs...)
		}
	}
	r.Header = header
	if fault != "" {
		return mayfly.Reply{}, faultOf(fault, r.Error, hint, m.Data)
	}
	if code != "" || r.Error != "" {
		r.Status = http.StatusInternalServerError
		n, err := strconv.Atoi(code)
		switch {
		case err == nil && n >= 400 && n <= 599:
			r.Status = n
		case err != nil && code != "" && r.Error != "":
			r.Error = code + ": " + r.Error // a service's own name for its error
		case err != nil && code != "":
			r.Error = code
		}
		if r.Error == "" {
			r.Error = http.StatusText(r.Status)
		}
	}
	if status != "" {
		n, err := strconv.Atoi(status)
		if err != nil || n < 200 || n > 599 {
			return r, mayfly.Errorf(mayfly.Crashed, "the reply has %s %q: it must be a number from 200 to 599", mayfly.HeaderStatus, status)
		}
		r.Status = n
	}
	return r, nil
}

// faultOf returns the error that another node reported for a call.
func faultOf(fault, text, hint string, trace []byte) error {
	e := &mayfly.Error{Code: mayfly.Internal, Message: text, Hint: hint}
	for _, code := range mayfly.Codes() {
		if code.String() == fault {
			e.Code = code
		}
	}
	if len(trace) > 0 {
		e.Err = mayfly.Trace(trace)
	}
	return e
}
