package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func TestCallCarriesTheRequest(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	got := make(chan *nats.Msg, 1)
	natstest.Serve(t, natstest.Connect(t, b), "take", func(m *nats.Msg) {
		got <- m
		m.Respond(nil)
	})
	c := mayfly.Call{
		ID: "id-1", Subject: "take",
		Method: "POST", Path: "/a%2Fb", Query: "x=1&y=%C3%A9", Host: "shop.example", Remote: "[::1]:99",
		Header:   http.Header{"X-Many": {"one", "two", ""}, "X-Text": {"zażółć 🐝"}, "Content-Type": {"text/plain"}},
		Body:     []byte("body"),
		Deadline: soon(),
	}
	deadline := strconv.FormatInt(c.Deadline.UnixMilli(), 10)
	if _, err := b.Call(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	m := <-got
	want := nats.Header{
		"X-Many": {"one", "two", ""}, "X-Text": {"zażółć 🐝"}, "Content-Type": {"text/plain"},
		mayfly.HeaderMethod: {"POST"}, mayfly.HeaderPath: {"/a%2Fb"}, mayfly.HeaderQuery: {"x=1&y=%C3%A9"},
		mayfly.HeaderHost: {"shop.example"}, mayfly.HeaderRemote: {"[::1]:99"}, mayfly.HeaderCall: {"id-1"},
		mayfly.HeaderDeadline: {deadline},
	}
	if left, err := strconv.Atoi(m.Header.Get(mayfly.HeaderTimeout)); err != nil || left < 1 || left > int(time.Until(c.Deadline).Milliseconds())+1000 {
		t.Errorf("%s = %q", mayfly.HeaderTimeout, m.Header.Get(mayfly.HeaderTimeout))
	}
	m.Header.Del(mayfly.HeaderTimeout)
	if diff := cmp.Diff(want, m.Header); diff != "" {
		t.Errorf("headers at the service (-want +got):\n%s", diff)
	}
	if string(m.Data) != "body" {
		t.Errorf("body = %q", m.Data)
	}
}

func TestCallWithNothingToSayHasNoHeaders(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	got := make(chan *nats.Msg, 1)
	natstest.Serve(t, natstest.Connect(t, b), "take", func(m *nats.Msg) {
		got <- m
		m.Respond(nil)
	})
	ctx, cancel := context.WithDeadline(t.Context(), soon())
	defer cancel()
	if _, err := b.Call(ctx, mayfly.Call{Subject: "take"}); err != nil {
		t.Fatal(err)
	}
	if m := <-got; len(m.Header) != 0 {
		t.Errorf("headers = %v", m.Header)
	}
}

func TestCallBringsEveryBody(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	natstest.Serve(t, natstest.Connect(t, b), "echo", func(m *nats.Msg) { m.Respond(m.Data) })
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	for _, tt := range []struct{ name, body string }{
		{"empty", ""},
		{"text", "hello"},
		{"UTF-8", "zażółć 🐝"},
		{"every byte", string(binary)},
		{"line ends and protocol", "\r\nPUB x 0\r\n\r\nMSG"},
		{"half a mebibyte", strings.Repeat("x", 512<<10)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := b.Call(t.Context(), call("echo", tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if string(reply.Body) != tt.body || reply.Status != 200 || reply.Err() != nil {
				t.Errorf("status %d, %d bytes, error %v", reply.Status, len(reply.Body), reply.Err())
			}
		})
	}
}

func TestCallReadsTheReply(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	for i, tt := range []struct {
		name   string
		header nats.Header
		want   mayfly.Reply // its Body is always "body"
		code   mayfly.Code  // of the error, if Crashed
	}{
		{name: "no headers", want: mayfly.Reply{Status: 200}},
		{
			name:   "names become canonical",
			header: nats.Header{"x-lower": {"1", "2"}, "CONTENT-TYPE": {"text/plain"}, "X-Empty": {""}},
			want:   mayfly.Reply{Status: 200, Header: http.Header{"X-Lower": {"1", "2"}, "Content-Type": {"text/plain"}, "X-Empty": {""}}},
		},
		{
			name:   "UTF-8 in a value",
			header: nats.Header{"X-Text": {"zażółć 🐝"}},
			want:   mayfly.Reply{Status: 200, Header: http.Header{"X-Text": {"zażółć 🐝"}}},
		},
		{
			name:   "a service's error keeps its text and body",
			header: nats.Header{"Nats-Service-Error": {"no such order"}, "Nats-Service-Error-Code": {"404"}, "X-Kept": {"1"}},
			want:   mayfly.Reply{Status: 404, Error: "no such order", Header: http.Header{"X-Kept": {"1"}}},
		},
		{
			name:   "an error in small letters",
			header: nats.Header{"nats-service-error": {"no"}, "nats-service-error-code": {"409"}},
			want:   mayfly.Reply{Status: 409, Error: "no"},
		},
		{name: "code 599", header: nats.Header{"Nats-Service-Error-Code": {"599"}, "Nats-Service-Error": {"x"}}, want: mayfly.Reply{Status: 599, Error: "x"}},
		{name: "code without text", header: nats.Header{"Nats-Service-Error-Code": {"429"}}, want: mayfly.Reply{Status: 429, Error: "Too Many Requests"}},
		{name: "text without code", header: nats.Header{"Nats-Service-Error": {"x"}}, want: mayfly.Reply{Status: 500, Error: "x"}},
		{name: "code is no number", header: nats.Header{"Nats-Service-Error": {"x"}, "Nats-Service-Error-Code": {"ORDER_42"}}, want: mayfly.Reply{Status: 500, Error: "ORDER_42: x"}},
		{name: "code is no number, without text", header: nats.Header{"Nats-Service-Error-Code": {"ORDER_42"}}, want: mayfly.Reply{Status: 500, Error: "ORDER_42"}},
		{name: "code is a success", header: nats.Header{"Nats-Service-Error": {"x"}, "Nats-Service-Error-Code": {"200"}}, want: mayfly.Reply{Status: 500, Error: "x"}},
		{name: "code is too high", header: nats.Header{"Nats-Service-Error": {"x"}, "Nats-Service-Error-Code": {"600"}}, want: mayfly.Reply{Status: 500, Error: "x"}},
		{name: "code is negative", header: nats.Header{"Nats-Service-Error": {"x"}, "Nats-Service-Error-Code": {"-404"}}, want: mayfly.Reply{Status: 500, Error: "x"}},
		{name: "status 201", header: nats.Header{"Mayfly-Status": {"201"}}, want: mayfly.Reply{Status: 201}},
		{name: "status 200", header: nats.Header{"Mayfly-Status": {"200"}}, want: mayfly.Reply{Status: 200}},
		{name: "status 599", header: nats.Header{"mayfly-status": {"599"}}, want: mayfly.Reply{Status: 599}},
		{
			name:   "status wins over the error's code",
			header: nats.Header{"Mayfly-Status": {"422"}, "Nats-Service-Error": {"x"}, "Nats-Service-Error-Code": {"400"}},
			want:   mayfly.Reply{Status: 422, Error: "x"},
		},
		{name: "status 199", header: nats.Header{"Mayfly-Status": {"199"}}, code: mayfly.Crashed},
		{name: "status 101", header: nats.Header{"Mayfly-Status": {"101"}}, code: mayfly.Crashed},
		{name: "status 600", header: nats.Header{"Mayfly-Status": {"600"}}, code: mayfly.Crashed},
		{name: "status is a word", header: nats.Header{"Mayfly-Status": {"ok"}}, code: mayfly.Crashed},
		{name: "headers over 64 KiB in one value", header: nats.Header{"X-Long": {strings.Repeat("x", 64<<10)}}, code: mayfly.Crashed},
		{name: "headers over 64 KiB in many values", header: nats.Header{"X": make([]string, 64<<10/5+1)}, code: mayfly.Crashed},
		{
			name: "what belongs to NATS or Mayfly never comes out",
			header: nats.Header{
				"Nats-Msg-Id": {"1"}, "nats-rollup": {"all"}, "NATS-TTL": {"1"}, "Nats-Trace-Dest": {"x"},
				"Mayfly-Call": {"1"}, "mayfly-secret": {"1"}, "Status": {"404"}, "status": {"500"}, "Description": {"x"}, "DESCRIPTION": {"x"},
				"X-Mayfly-Fine": {"1"},
			},
			want: mayfly.Reply{Status: 200, Header: http.Header{"X-Mayfly-Fine": {"1"}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			subject := fmt.Sprintf("reply.%d", i)
			natstest.Serve(t, nc, subject, func(m *nats.Msg) {
				if err := m.RespondMsg(&nats.Msg{Header: tt.header, Data: []byte("body")}); err != nil {
					t.Error(err)
				}
			})
			got, err := b.Call(t.Context(), call(subject, ""))
			if tt.code != 0 {
				if mayfly.CodeOf(err) != tt.code || err == nil {
					t.Errorf("error %v has code %v, want %v", err, mayfly.CodeOf(err), tt.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Body = []byte("body")
			if len(got.Header) == 0 {
				got.Header = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCallTellsNobodyFromSilence(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	natstest.Serve(t, natstest.Connect(t, b), "silent", func(*nats.Msg) {})

	c := call("nobody.here", "")
	_, err := b.Call(t.Context(), c)
	if mayfly.CodeOf(err) != mayfly.Unavailable || !errors.Is(err, mayfly.ErrNobody) {
		t.Errorf("nobody: error = %v", err)
	}
	if mayfly.HintOf(err) == "" || !strings.Contains(err.Error(), "nobody.here") {
		t.Errorf("nobody: error %q, hint %q do not help", err, mayfly.HintOf(err))
	}
	if !time.Now().Before(c.Deadline) {
		t.Error("nobody was said only after the deadline")
	}

	c = call("silent", "")
	c.Deadline = time.Now().Add(50 * time.Millisecond)
	_, err = b.Call(t.Context(), c)
	if mayfly.CodeOf(err) != mayfly.Timeout || errors.Is(err, mayfly.ErrNobody) {
		t.Errorf("silence: error = %v", err)
	}
	if time.Now().Before(c.Deadline) {
		t.Error("silence was said before the deadline")
	}
	if s := b.Stats(); s.Nobody != 1 || s.Retried != 1 {
		t.Errorf("nobody %d, retried %d, want 1 and 1", s.Nobody, s.Retried)
	}
}

func TestCallEndsWhenTheCallerLeaves(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	ctx, leave := context.WithCancel(t.Context())
	natstest.Serve(t, natstest.Connect(t, b), "silent", func(*nats.Msg) { leave() })
	c := call("silent", "")
	c.Deadline = time.Now().Add(time.Hour)
	_, err := b.Call(ctx, c)
	if mayfly.CodeOf(err) != mayfly.Timeout || !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func TestCallWithoutDeadlineWaitsForItsContext(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	natstest.Serve(t, nc, "echo", func(m *nats.Msg) { m.Respond(m.Data) })
	natstest.Serve(t, nc, "silent", func(*nats.Msg) {})
	if _, err := b.Call(t.Context(), mayfly.Call{Subject: "echo"}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Call(ctx, mayfly.Call{Subject: "silent"})
	if mayfly.CodeOf(err) != mayfly.Timeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
}

func TestCallRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	var came atomic.Int32
	natstest.Serve(t, natstest.Connect(t, b), "take", func(m *nats.Msg) {
		came.Add(1)
		m.Respond([]byte(strconv.Itoa(len(m.Data))))
	})
	limit := int(b.MaxPayload())
	frame := len("NATS/1.0\r\n" + "X-A: 1\r\n" + "\r\n")
	for _, tt := range []struct {
		name   string
		body   int
		header http.Header
		fits   bool
	}{
		{"body at the limit", limit, nil, true},
		{"body over the limit", limit + 1, nil, false},
		{"body and headers at the limit", limit - frame, http.Header{"X-A": {"1"}}, true},
		{"headers push over the limit", limit - frame + 1, http.Header{"X-A": {"1"}}, false},
		{"headers alone over the limit", 0, http.Header{"X-A": {strings.Repeat("x", limit)}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := came.Load()
			ctx, cancel := context.WithDeadline(t.Context(), soon())
			defer cancel()
			c := mayfly.Call{Subject: "take", Header: tt.header, Body: make([]byte, tt.body)}
			reply, err := b.Call(ctx, c)
			if tt.fits {
				if err != nil || string(reply.Body) != strconv.Itoa(tt.body) {
					t.Errorf("reply %q, error %v", reply.Body, err)
				}
				return
			}
			if mayfly.CodeOf(err) != mayfly.Invalid || !errors.Is(err, mayfly.ErrTooLarge) {
				t.Errorf("error = %v", err)
			}
			if err := b.Send(ctx, c); !errors.Is(err, mayfly.ErrTooLarge) {
				t.Errorf("send: error = %v", err)
			}
			if came.Load() != before {
				t.Error("it came to the service")
			}
		})
	}
	if s := b.Stats(); s.Reconnects != 0 || s.Connected != 2 {
		t.Errorf("the connection suffered: %+v", s)
	}
}

func TestCallTakesTheLongestSubject(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	natstest.Serve(t, natstest.Connect(t, b), "long.>", func(m *nats.Msg) { m.Respond([]byte(m.Subject)) })
	subject, err := mayfly.ParseSubject("long." + strings.Repeat("é", (mayfly.MaxSubject-5)/2))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := b.Call(t.Context(), call(string(subject), ""))
	if err != nil || string(reply.Body) != string(subject) {
		t.Errorf("reply %q, error %v", reply.Body, err)
	}
}

// The first try must be over when the service comes, and the second still ahead.
// The server's trace tells when the first is there; whether the service is then
// fast enough is chance, so a few may miss.
func TestCallReachesAServiceThatComesBetweenItsTries(t *testing.T) {
	t.Parallel()
	for attempt := range 50 {
		subject := "late." + strconv.Itoa(attempt)
		trace := newDiary("PUB " + subject + " ")
		b, err := bus.Open(t.Context(), bus.Options{
			Server: &bus.ServerOptions{Store: t.TempDir(), Trace: trace},
		})
		if err != nil {
			t.Fatal(err)
		}
		nc := natstest.Connect(t, b)
		var came atomic.Int32
		type result struct {
			reply mayfly.Reply
			err   error
		}
		done := make(chan result, 1)
		go func() {
			reply, err := b.Call(t.Context(), call(subject, "hi"))
			done <- result{reply, err}
		}()
		<-trace.lines
		natstest.Serve(t, nc, subject, func(m *nats.Msg) {
			came.Add(1)
			m.Respond(m.Data)
		})
		r := <-done
		retried := b.Stats().Retried
		nc.Close()
		b.Close()
		if errors.Is(r.err, mayfly.ErrNobody) || retried == 0 {
			continue // too late for the second try, or early enough for the first
		}
		if r.err != nil || string(r.reply.Body) != "hi" || retried != 1 || came.Load() != 1 {
			t.Fatalf("reply %q, error %v, retried %d, came %d times", r.reply.Body, r.err, retried, came.Load())
		}
		return
	}
	t.Fatal("no second try reached a service in 50 attempts")
}

func TestSendIsTakenOnceSomebodyListens(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	came := make(chan string, 1)
	answered := make(chan error, 1)
	service := natstest.AddService(t, nc, "taker", "1.0.0", natstest.Endpoint{
		Name: "take", Answer: func(r micro.Request) {
			came <- string(r.Data())
			answered <- r.Respond([]byte("thanks"))
		},
	})
	if err := b.Send(t.Context(), call("take", "hi")); err != nil {
		t.Fatal(err)
	}
	if got := <-came; got != "hi" {
		t.Errorf("came %q", got)
	}
	if err := <-answered; err != nil {
		t.Errorf("the service could not answer: %v", err)
	}
	if n := service.Stats().Endpoints[0].NumErrors; n != 0 {
		t.Errorf("the service counted %d errors", n)
	}
}

func TestSendSaysWhenNobodyListens(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for range 100 { // each of which the answer of the server must outrun
		err := b.Send(t.Context(), call("nobody.here", "hi"))
		if mayfly.CodeOf(err) != mayfly.Unavailable || !errors.Is(err, mayfly.ErrNobody) {
			t.Fatalf("error = %v", err)
		}
	}
}

func TestGatherReturnsEveryAnswer(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	for range 3 {
		if _, err := nc.Subscribe("who", func(m *nats.Msg) { m.Respond([]byte("me")) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	answers, err := b.Gather(t.Context(), "who")
	if err != nil || len(answers) != 3 {
		t.Fatalf("%d answers, error %v", len(answers), err)
	}
	for _, a := range answers {
		if string(a.Body) != "me" || a.Took <= 0 {
			t.Errorf("answer %q took %s", a.Body, a.Took)
		}
	}
	if answers, err = b.Gather(t.Context(), "nobody.here"); err != nil || len(answers) != 0 {
		t.Errorf("nobody there: %d answers, error %v", len(answers), err)
	}
	if n := b.Stats().Inboxes; n != 0 {
		t.Errorf("%d listeners left", n)
	}
}

func TestGatherQuickReturnsEveryAnswer(t *testing.T) {
	t.Parallel()
	const most = 100
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	_, err := nc.Subscribe("who", func(m *nats.Msg) {
		for range most {
			m.Respond([]byte("me"))
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	answers := 0
	count := func(bus.Answer) { answers++ }
	if err := b.GatherQuick(t.Context(), "who", time.Minute, count); err != nil || answers != most {
		t.Errorf("%d answers, error %v", answers, err)
	}
	answers = 0
	if err := b.GatherQuick(t.Context(), "nobody.here", time.Minute, count); err != nil || answers != 0 {
		t.Errorf("nobody there: %d answers, error %v", answers, err)
	}
}

func TestGatherQuickWaitsLongerForThoseWhoAreSlow(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct {
		name                 string
		widest, passed, want time.Duration
	}{
		{"the first came at once", ms, ms, 39 * ms},
		{"many came, one upon the other", ms, 100 * ms, 20 * ms},
		{"the first was slow", 30 * ms, 30 * ms, 120 * ms},
		{"one is on another continent", 200 * ms, 200 * ms, 300 * ms},
		{"one came just in time", 900 * ms, 900 * ms, 300 * ms},
	} {
		if got := bus.QuickRest(tt.widest, tt.passed); got != tt.want {
			t.Errorf("%s: waits for %s more, want %s", tt.name, got, tt.want)
		}
	}
}

func TestGatherRefusesWhatIsNoSubject(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for _, subject := range []string{"$SRV.PING.a b", "$SRV.PING.a\r\nPUB x 0\r\n\r\n", "\x00"} {
		if _, err := b.Gather(t.Context(), subject); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("Gather(%q) = %v, want invalid", subject, err)
		}
	}
	if err := b.Ready(); err != nil {
		t.Error(err)
	}
}
