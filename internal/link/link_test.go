package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second // for what takes milliseconds

// A peer is the instance's end of a link.
type peer struct {
	t testing.TB
	net.Conn
	*frame.Reader
}

// connect returns a link and its other end, which has sent its preface.
func connect(t testing.TB, o Options) (*Link, *peer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "link") // t.TempDir's path may be too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	theirs, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(theirs, frame.Preface); err != nil {
		t.Fatal(err)
	}
	l, err := Open(ours, o)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, Conn: theirs}
	t.Cleanup(func() {
		theirs.Close()
		l.End()
	})
	return l, p
}

// next returns the next frame that the node sent.
func (p *peer) next() frame.Frame {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if p.Reader == nil {
		var err error
		if p.Reader, err = frame.NewReader(p.Conn); err != nil {
			p.t.Fatal(err)
		}
	}
	f, err := p.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *peer) send(frames ...frame.Frame) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = frame.Append(b, f)
	}
	if _, err := p.Write(b); err != nil {
		p.t.Error(err)
	}
}

func reply(call uint32, body string) frame.Frame {
	return frame.Frame{Call: call, Kind: frame.Head, End: true, Head: []byte("200\n"), Body: []byte(body)}
}

func open(call uint32, head string) frame.Frame {
	return frame.Frame{Call: call, Kind: frame.Head, Head: []byte(head)}
}

func data(call uint32, body string) frame.Frame {
	return frame.Frame{Call: call, Kind: frame.Data, Body: []byte(body)}
}

func credit(call, n uint32) frame.Frame {
	return frame.Frame{Call: call, Kind: frame.Credit, Body: binary.BigEndian.AppendUint32(nil, n)}
}

// An outcome is what became of a call.
type outcome struct {
	mayfly.Reply
	err error
}

// begin makes a call elsewhere.
func begin(ctx context.Context, l *Link, c *mayfly.Call) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		r, err := l.Call(ctx, c)
		done <- outcome{r, err}
	}()
	return done
}

func await(t testing.TB, done <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(patience):
		t.Fatal("the call has not ended")
		return outcome{}
	}
}

func wantCode(t testing.TB, err error, code mayfly.Code) {
	t.Helper()
	if err == nil || mayfly.CodeOf(err) != code {
		t.Errorf("err = %v, want code %v", err, code)
	}
}

func get(path string) *mayfly.Call { return &mayfly.Call{Method: "GET", Path: path} }

func TestRequestAndReply(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	done := begin(t.Context(), l, &mayfly.Call{
		ID: "c1", Method: "PUT", Path: "/a b"[:2], Query: "q=1", Host: "example.com", Remote: "1.2.3.4:5",
		Header: map[string][]string{"X-Ask": {"ä"}, "Connection": {"close"}}, Body: []byte("hi"), Deadline: time.UnixMilli(4e12),
	})
	f := p.next()
	want := "PUT /a?q=1\nHost:example.com\nX-Ask:ä\nMayfly-Call:c1\nMayfly-Remote:1.2.3.4:5\nMayfly-Deadline:4000000000000\nContent-Length:2\n"
	if string(f.Head) != want || string(f.Body) != "hi" || !f.End || f.Kind != frame.Head {
		t.Errorf("the node sent %+v\n%s%s", f, f.Head, f.Body)
	}
	p.send(frame.Frame{Call: f.Call, Kind: frame.Head, End: true, Body: []byte("yes"), Head: []byte(
		"201\nx-made: by us \nset-cookie:a\nSet-Cookie:b\nconnection:close\nmayfly-status:7\nnats-trace-dest:x\ncontent-length:3\n",
	)})
	o := await(t, done)
	if o.err != nil || o.Status != 201 || string(o.Body) != "yes" || len(o.Header) != 2 ||
		o.Header.Get("X-Made") != "by us" || strings.Join(o.Header["Set-Cookie"], " ") != "a b" {
		t.Errorf("%+v", o)
	}
}

func TestRepliesWithoutABody(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	for _, tt := range []struct{ method, head, length string }{
		{"HEAD", "200\ncontent-length:5\n", "5"}, {"HEAD", "200\n", ""}, {"GET", "204\n", ""}, {"GET", "304\n", ""},
	} {
		done := begin(t.Context(), l, &mayfly.Call{Method: tt.method})
		p.send(frame.Frame{Call: p.next().Call, Kind: frame.Head, End: true, Head: []byte(tt.head), Body: []byte("five!")})
		if o := await(t, done); o.err != nil || o.Body != nil || o.Header.Get("Content-Length") != tt.length {
			t.Errorf("%s %q: %+v", tt.method, tt.head, o)
		}
	}
}

func TestCallsMix(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	const calls = 200
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		var pending []frame.Frame
		for n := range calls {
			f := p.next()
			_, path, _ := strings.Cut(strings.SplitN(string(f.Head), "\n", 2)[0], " ")
			pending = append(pending, reply(f.Call, path))
			if n%7 == 0 || n == calls-1 {
				rand.Shuffle(len(pending), func(i, j int) { pending[i], pending[j] = pending[j], pending[i] })
				p.send(pending...)
				pending = nil
			}
		}
	}()
	var all sync.WaitGroup
	for n := range calls {
		all.Go(func() {
			path := "/" + strconv.Itoa(n)
			if r, err := l.Call(t.Context(), get(path)); err != nil || string(r.Body) != path {
				t.Errorf("%s: %q, %v", path, r.Body, err)
			}
		})
	}
	all.Wait()
	<-stop
	if l.Speaker() != "" {
		t.Error("calls that overlapped may own a line")
	}
}

func TestUnaskedFramesReachNobody(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	p.send(reply(50, "before any call"), data(77, "of none"), frame.Frame{Call: 9, Kind: frame.Error}, credit(8, 5))
	first := begin(t.Context(), l, get("/1"))
	number := p.next().Call
	p.send(reply(number, "one"), reply(number, "twice"), data(number, "more"))
	if o := await(t, first); o.err != nil || string(o.Body) != "one" {
		t.Errorf("%+v", o)
	}
	second := begin(t.Context(), l, get("/2"))
	later := p.next().Call
	p.send(reply(number, "late"), reply(later, "two"))
	if o := await(t, second); o.err != nil || string(o.Body) != "two" {
		t.Errorf("%+v", o)
	}
}

func TestRulesOfTheLink(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(p *peer, call uint32){
		"no frame":          func(p *peer, _ uint32) { _, _ = io.WriteString(p, "HTTP/1.1 200 OK\r\n\r\n") },
		"4 GiB":             func(p *peer, call uint32) { _, _ = p.Write([]byte{255, 255, 255, 255, 0, 0, 0, 1, 2, 0, 0, 0}) },
		"half a frame":      func(p *peer, call uint32) { _, _ = p.Write([]byte{0, 0}); p.Close() },
		"two replies":       func(p *peer, call uint32) { p.send(open(call, "200\n"), open(call, "200\n")) },
		"data before head":  func(p *peer, call uint32) { p.send(data(call, "x")) },
		"a cancel":          func(p *peer, call uint32) { p.send(frame.Frame{Call: call, Kind: frame.Cancel}) },
		"more than granted": func(p *peer, call uint32) { p.flood(call) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken := errors.New("explained")
			l, p := connect(t, Options{Broken: func(id string, _ time.Time, err error) error {
				if id != "c7" || err == nil {
					t.Errorf("call %q is broken by %v", id, err)
				}
				return broken
			}})
			done := begin(t.Context(), l, &mayfly.Call{ID: "c7"})
			send(p, p.next().Call)
			o := await(t, done)
			if o.Stream != nil {
				_, o.err = io.Copy(io.Discard, o.Stream)
				o.Stream.Close()
			}
			if !errors.Is(o.err, broken) {
				t.Errorf("the call ended with %v", o.err)
			}
			<-l.Done()
			if _, err := l.Call(t.Context(), &mayfly.Call{ID: "c7"}); !errors.Is(err, broken) {
				t.Errorf("a later call: %v", err)
			}
		})
	}
}

// An instance that was told to stop leaves when no call is there.
func TestEndOfAnIdleLink(t *testing.T) {
	t.Parallel()
	for _, calls := range []int{0, 1} {
		l, p := connect(t, Options{})
		for range calls {
			done := begin(t.Context(), l, get("/"))
			p.send(reply(p.next().Call, "hi"))
			if o := await(t, done); o.err != nil {
				t.Error(o.err)
			}
		}
		l.Close()
		p.Close()
		<-l.Done()
		if err := l.Err(); !errors.Is(err, io.EOF) {
			t.Errorf("after %d calls the link ended with %v", calls, err)
		}
	}
}

// flood sends more of a reply than may be sent, until nobody takes it.
func (p *peer) flood(call uint32) {
	p.send(open(call, "200\n"))
	b := frame.Append(nil, data(call, strings.Repeat("x", frame.MaxBody)))
	for range 100 {
		if _, err := p.Write(b); err != nil {
			return
		}
	}
}

func TestRepliesThatAreMalformed(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	for _, head := range []string{
		"", "200", "99\n", "600\n", "101\n", "2x0\n", "2000\n", "200 OK\n", "200\nno colon\n", "200\n:empty\n", "200\na b:c\n", "200\nx:a\rb\n",
		"200\nx:\x00\n", "200\n\n", "200\ncontent-length:9\n", "200\ncontent-length:-1\n", "200\ncontent-length:2\ncontent-length:3\n",
	} {
		done := begin(t.Context(), l, get("/"))
		f := p.next()
		p.send(frame.Frame{Call: f.Call, Kind: frame.Head, End: true, Head: []byte(head), Body: []byte("hi")})
		o := await(t, done)
		if wantCode(t, o.err, mayfly.Crashed); mayfly.HintOf(o.err) == "" {
			t.Errorf("%q: %v has no hint", head, o.err)
		}
		if f := p.next(); f.Kind != frame.Cancel {
			t.Errorf("%q: the node sent %+v", head, f)
		}
	}
}

func TestErrorFrames(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	done := begin(t.Context(), l, get("/"))
	p.send(frame.Frame{Call: p.next().Call, Kind: frame.Error, Head: []byte("TypeError: no"), Body: []byte("at line 3")})
	o := await(t, done)
	wantCode(t, o.err, mayfly.Crashed)
	if trace, _ := errors.AsType[mayfly.Trace](o.err); o.err.Error() != "TypeError: no" || trace != "at line 3" {
		t.Errorf("%v, trace %q", o.err, trace)
	}
	done = begin(t.Context(), l, get("/"))
	number := p.next().Call
	p.send(open(number, "200\n"), data(number, "half"), frame.Frame{Call: number, Kind: frame.Error, Head: []byte("it broke")})
	o = await(t, done)
	got, err := io.ReadAll(o.Stream)
	if string(got) != "half" || err == nil || err.Error() != "it broke" {
		t.Errorf("%q, %v", got, err)
	}
	o.Stream.Close()
}

func TestContextCancels(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := begin(ctx, l, get("/"))
	number := p.next().Call
	cancel()
	wantCode(t, await(t, done).err, mayfly.Timeout)
	if f := p.next(); f.Kind != frame.Cancel || f.Call != number {
		t.Errorf("the node sent %+v", f)
	}
	ctx, cancel = context.WithCancel(t.Context())
	done = begin(ctx, l, get("/"))
	number = p.next().Call
	p.send(open(number, "200\n"))
	o := await(t, done)
	cancel()
	_, err := o.Stream.Read(make([]byte, 1))
	wantCode(t, err, mayfly.Timeout)
	if f := p.next(); f.Kind != frame.Cancel || f.Call != number {
		t.Errorf("the node sent %+v", f)
	}
	done = begin(t.Context(), l, get("/"))
	number = p.next().Call
	p.send(open(number, "200\n"))
	o = await(t, done)
	o.Stream.Close()
	if f := p.next(); f.Kind != frame.Cancel || f.Call != number {
		t.Errorf("after Close the node sent %+v", f)
	}
	if _, err := l.Call(ctx, get("/")); mayfly.CodeOf(err) != mayfly.Timeout {
		t.Errorf("a call that is over before it begins: %v", err)
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{IdleTimeout: patience})
	for name, tt := range map[string]struct {
		head   string
		pieces []string
		want   string
		fault  string
	}{
		"unknown length":  {"200\n", []string{"a", "", "bc"}, "abc", ""},
		"known length":    {"200\ncontent-length:3\n", []string{"a", "bc"}, "abc", ""},
		"shorter":         {"200\ncontent-length:4\n", []string{"a", "bc"}, "abc", "ended 1 bytes before its Content-Length"},
		"longer":          {"200\ncontent-length:2\n", []string{"a", "bc"}, "ab", ""},
		"nothing":         {"200\n", nil, "", ""},
		"much, in pieces": {"200\n", []string{strings.Repeat("x", 60_000), strings.Repeat("y", 60_000)}, strings.Repeat("x", 60_000) + strings.Repeat("y", 60_000), ""},
	} {
		done := begin(t.Context(), l, get("/"))
		f := p.next()
		for f.Kind == frame.Credit { // of the one before
			f = p.next()
		}
		number := f.Call
		p.send(open(number, tt.head))
		for _, piece := range tt.pieces {
			p.send(data(number, piece))
		}
		p.send(frame.Frame{Call: number, Kind: frame.Data, End: true})
		o := await(t, done)
		got, err := io.ReadAll(o.Stream)
		if string(got) != tt.want || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if err := o.Stream.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// However pieces and reads fall, what is read is what was sent, and borrowed memory is returned.
func TestStreamInPiecesOfAnySize(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	done := begin(t.Context(), l, get("/"))
	number := p.next().Call
	const size = 2 << 20
	text := make([]byte, size)
	for i := range text {
		text[i] = byte(rand.Uint32())
	}
	go func() {
		p.send(open(number, "200\n"))
		granted := frame.Window
		for rest := text; len(rest) > 0; {
			n := min(1+rand.IntN(frame.MaxBody), len(rest))
			if rand.IntN(2) == 0 {
				n = min(1+rand.IntN(200), len(rest))
			}
			for granted < n {
				if f := p.next(); f.Kind == frame.Credit {
					granted += f.Granted()
				}
			}
			p.send(data(number, string(rest[:n])))
			rest, granted = rest[n:], granted-n
		}
		p.send(frame.Frame{Call: number, Kind: frame.Data, End: true})
	}()
	o := await(t, done)
	got := make([]byte, 0, size)
	for buf := make([]byte, 100<<10); ; {
		n, err := o.Stream.Read(buf[:1+rand.IntN(len(buf))])
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, text) {
		t.Errorf("%d bytes that are not the %d sent", len(got), size)
	}
	if s := o.Stream.(*stream); s.lent != nil {
		t.Error("its memory was not returned")
	}
	o.Stream.Close()
}

func TestStalledReply(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{IdleTimeout: 10 * time.Millisecond})
	done := begin(t.Context(), l, get("/"))
	number := p.next().Call
	p.send(open(number, "200\n"), data(number, "a"))
	o := await(t, done)
	got, err := io.ReadAll(o.Stream)
	if string(got) != "a" || mayfly.CodeOf(err) != mayfly.Timeout || !strings.Contains(err.Error(), "stalled for 10ms") {
		t.Errorf("%q, %v", got, err)
	}
	if f := p.next(); f.Kind != frame.Cancel {
		t.Errorf("the node sent %+v", f)
	}
}

func TestReplyHasBackPressure(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	done := begin(t.Context(), l, get("/"))
	number := p.next().Call
	half := strings.Repeat("x", frame.Window/2)
	p.send(open(number, "200\n"), data(number, half), data(number, half))
	o := await(t, done)
	if _, err := io.CopyN(io.Discard, o.Stream, frame.Window/2); err != nil {
		t.Fatal(err)
	}
	f := p.next()
	if f.Kind != frame.Credit || f.Call != number || f.Granted() < frame.Window/2 {
		t.Errorf("the node sent %+v", f)
	}
	p.send(data(number, half), frame.Frame{Call: number, Kind: frame.Data, End: true})
	if n, err := io.Copy(io.Discard, o.Stream); err != nil || n != frame.Window {
		t.Errorf("%d bytes followed, %v", n, err)
	}
	o.Stream.Close()
}

func TestSlowReaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	done := begin(t.Context(), l, get("/slow"))
	slow := p.next().Call
	half := strings.Repeat("x", frame.Window/2)
	p.send(open(slow, "200\n"), data(slow, half), data(slow, half))
	o := await(t, done) // nothing of it is read
	for n := range 100 {
		done := begin(t.Context(), l, get("/quick"))
		p.send(reply(p.next().Call, "quick"))
		if o := await(t, done); o.err != nil {
			t.Fatalf("call %d: %v", n, o.err)
		}
	}
	o.Stream.Close()
}

func TestUploadHasBackPressure(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	const size = 1 << 20
	read := &counter{Reader: io.LimitReader(endless{}, size)}
	for name, c := range map[string]*mayfly.Call{
		"stream":         {Stream: read, Length: -1},
		"known length":   {Stream: io.LimitReader(endless{}, size), Length: size},
		"whole but long": {Body: bytes.Repeat([]byte("z"), size)},
	} {
		done := begin(t.Context(), l, c)
		f := p.next()
		number, got, end := f.Call, len(f.Body), f.End
		for !end {
			for got < frame.Window && !end {
				f = p.next()
				got, end = got+len(f.Body), end || f.End
			}
			if got > frame.Window {
				t.Fatalf("%s: %d bytes were sent, %d were granted", name, got, frame.Window)
			}
			if name == "stream" && read.n.Load() > int64(frame.Window+piece) {
				t.Fatalf("%d bytes were read ahead", read.n.Load())
			}
			p.send(credit(number, frame.Window/2))
			got -= frame.Window / 2
			read.n.Add(-frame.Window / 2)
		}
		p.send(reply(number, "thanks"))
		if o := await(t, done); o.err != nil || string(o.Body) != "thanks" {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestUploadsThatEndEarly(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	done := begin(t.Context(), l, &mayfly.Call{Stream: strings.NewReader("half"), Length: 8})
	for f := p.next(); f.Kind != frame.Error; f = p.next() {
		if f.End {
			t.Error("a body that was cut short looks complete")
		}
	}
	wantCode(t, await(t, done).err, mayfly.Invalid)

	done = begin(t.Context(), l, &mayfly.Call{Stream: io.MultiReader(strings.NewReader("a"), failing{}), Length: -1})
	for f := p.next(); f.Kind != frame.Error; f = p.next() {
	}
	if o := await(t, done); mayfly.CodeOf(o.err) != mayfly.Exhausted {
		t.Errorf("the caller's error became %v", o.err)
	}

	done = begin(t.Context(), l, &mayfly.Call{Body: bytes.Repeat([]byte("z"), 1<<20)})
	p.send(reply(p.next().Call, "early"))
	if o := await(t, done); o.err != nil || string(o.Body) != "early" {
		t.Errorf("%+v", o)
	}
	l.uploads.Wait() // it has not gone on
}

func TestWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	for _, c := range []*mayfly.Call{
		{Method: "A B"},
		{Path: "no-slash"},
		{Path: "/a b"},
		{Host: "a\nb"},
		{ID: "x\ny:z"},
		{Header: map[string][]string{"A": {"b\nC:d"}}},
		{Header: map[string][]string{"A:B": {"c"}}},
		{Header: map[string][]string{"Big": {strings.Repeat("x", frame.MaxHead)}}},
		{Path: "no-slash", Body: make([]byte, 1<<20)},
	} {
		_, err := l.Call(t.Context(), c)
		wantCode(t, err, mayfly.Invalid)
	}
	done := begin(t.Context(), l, get("/fine"))
	f := p.next()
	if !strings.HasPrefix(string(f.Head), "GET /fine\n") {
		t.Errorf("the node sent %q", f.Head)
	}
	p.send(reply(f.Call, ""))
	await(t, done)
	l.Close()
	_, err := l.Call(t.Context(), get("/"))
	wantCode(t, err, mayfly.Unavailable)
}

func TestSpeaker(t *testing.T) {
	t.Parallel()
	l, p := connect(t, Options{})
	done := begin(t.Context(), l, &mayfly.Call{ID: "c1"})
	number := p.next().Call
	if got := l.Speaker(); got != "c1" {
		t.Errorf("the only call is %q", got)
	}
	second := begin(t.Context(), l, &mayfly.Call{ID: "c2"})
	other := p.next().Call
	if got := l.Speaker(); got != "" {
		t.Errorf("of two calls %q speaks", got)
	}
	p.send(reply(number, ""), reply(other, ""))
	await(t, done)
	await(t, second)
}

// A counter counts what was read.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, mayfly.Errorf(mayfly.Exhausted, "too much") }

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'z'
	}
	return len(p), nil
}

// FuzzLink has an instance send anything: nothing panics, no call hangs, and what reaches a
// caller is a reply.
func FuzzLink(f *testing.F) {
	one := frame.Append(nil, reply(1, "hi"))
	f.Add(one)
	f.Add(append(frame.Append(nil, open(1, "200\ncontent-length:3\n")), frame.Append(nil, data(2, "abc"))...))
	f.Add(frame.Append(nil, frame.Frame{Call: 1, Kind: frame.Error, Head: []byte("x")}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		l, p := connect(t, Options{})
		var all sync.WaitGroup
		for n := range 3 {
			all.Go(func() {
				r, err := l.Call(context.Background(), get(fmt.Sprint("/", n)))
				if err != nil {
					return
				}
				if r.Stream != nil {
					_, _ = io.Copy(io.Discard, r.Stream)
					r.Stream.Close()
				}
				if r.Status < 200 || r.Status > 599 {
					t.Errorf("status %d", r.Status)
				}
				for name, values := range r.Header {
					if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") || mayfly.IsReserved(name) {
						t.Errorf("header %q: %q", name, values)
					}
				}
			})
		}
		for range 3 {
			p.next()
		}
		_, _ = p.Write(sent)
		p.Close()
		all.Wait()
	})
}
