package frame_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/mayfly-run/mayfly/internal/frame"
)

// sample holds every kind of frame, also the largest.
func sample() []frame.Frame {
	return []frame.Frame{
		{Call: 1, Kind: frame.Head, End: true, Head: []byte("GET /\nHost:a\n"), Body: []byte{}},
		{Call: 2, Kind: frame.Head, Head: []byte("POST /\n"), Body: []byte("first")},
		{Call: 2, Kind: frame.Data, Head: []byte{}, Body: bytes.Repeat([]byte("x"), frame.MaxBody)},
		{Call: 1<<32 - 1, Kind: frame.Head, Head: bytes.Repeat([]byte("h"), frame.MaxHead), Body: bytes.Repeat([]byte("y"), frame.MaxBody)},
		{Call: 2, Kind: frame.Data, End: true, Head: []byte{}, Body: []byte{}},
		{Call: 3, Kind: frame.Error, Head: []byte("it broke"), Body: []byte("trace")},
		{Call: 4, Kind: frame.Credit, Head: []byte{}, Body: []byte{0, 1, 0, 0}},
		{Call: 5, Kind: frame.Cancel, Head: []byte{}, Body: []byte{}},
	}
}

func encoded(frames []frame.Frame) []byte {
	b := []byte(frame.Preface)
	for _, f := range frames {
		b = frame.Append(b, f)
	}
	return b
}

// readAll returns copies of all frames, and why there are no more.
func readAll(from io.Reader) (all []frame.Frame, err error) {
	r, err := frame.NewReader(from)
	for err == nil {
		var f frame.Frame
		if f, err = r.Next(); err == nil {
			f.Head, f.Body = append([]byte{}, f.Head...), append([]byte{}, f.Body...)
			all = append(all, f)
		}
	}
	return all, err
}

func TestFramesSurviveEveryCut(t *testing.T) {
	t.Parallel()
	b := encoded(sample())
	for name, from := range map[string]io.Reader{
		"whole": bytes.NewReader(b), "byte by byte": iotest.OneByteReader(bytes.NewReader(b)), "in halves": iotest.HalfReader(bytes.NewReader(b)),
		"end with data": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		got, err := readAll(from)
		if err != io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(encoded(got), b) {
			t.Errorf("%s: %d frames that are not what was written", name, len(got))
		}
	}
	for n := range 2*frame.HeaderSize + 40 {
		got, err := readAll(bytes.NewReader(b[:len(frame.Preface)+n]))
		between := n == 0 || n == frame.HeaderSize+13 || n == 2*frame.HeaderSize+13+12
		if between != (err == io.EOF) || !between && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes and %d frames: %v", n, len(got), err)
		}
	}
	if _, err := readAll(bytes.NewReader([]byte("MFL\x02..."))); err == nil {
		t.Error("another version is read")
	}
}

func TestGranted(t *testing.T) {
	t.Parallel()
	f, n, err := frame.Next(frame.AppendCredit(nil, 7, 1<<17))
	if err != nil || n != frame.HeaderSize+4 || f.Call != 7 || f.Kind != frame.Credit || f.Granted() != 1<<17 {
		t.Errorf("%+v grants %d, %d bytes, %v", f, f.Granted(), n, err)
	}
}

func TestWhatIsNoFrame(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"no call":              {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0},
		"kind 0":               {0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0},
		"a later kind":         {0, 0, 0, 0, 0, 0, 0, 1, 6, 1, 0, 0},
		"an unknown flag":      {0, 0, 0, 0, 0, 0, 0, 1, 1, 3, 0, 0},
		"4 GiB":                {255, 255, 255, 255, 0, 0, 0, 1, 2, 0, 0, 0},
		"too much body":        {0, 1, 0, 1, 0, 0, 0, 1, 2, 0, 0, 0},
		"a head beyond it":     {0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 2},
		"data with a head":     {0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0, 1},
		"a credit of 5 bytes":  {0, 0, 0, 5, 0, 0, 0, 1, 4, 0, 0, 0},
		"a cancel with a body": {0, 0, 0, 1, 0, 0, 0, 1, 5, 0, 0, 0},
	} {
		if f, n, err := frame.Next(b); err == nil {
			t.Errorf("%s: %+v of %d bytes", name, f, n)
		}
	}
}

// A slow connection writes when it is told to.
type slow chan []byte

func (s slow) Write(p []byte) (int, error) {
	s <- bytes.Clone(p)
	return len(p), nil
}

func send(w *frame.Writer, f frame.Frame) { w.Flush(frame.Append(w.Begin(), f)) }

func TestWriterGathers(t *testing.T) {
	t.Parallel()
	to := make(slow)
	w := frame.NewWriter(to)
	for _, f := range sample() {
		send(w, f) // does not wait
	}
	first := <-to
	second := <-to
	if got := append(first, second...); !bytes.Equal(got, encoded(sample())) {
		t.Errorf("%d bytes in two writes, want the %d of all frames", len(got), len(encoded(sample())))
	}
	w.Close()
}

// What bodies wait for is written in pieces that fit into a cache; other frames wait for nothing.
func TestSendersOfBodiesWait(t *testing.T) {
	t.Parallel()
	to := make(slow)
	w := frame.NewWriter(to)
	const senders = 64
	var all sync.WaitGroup
	sendBodies := func() {
		for range senders {
			all.Go(func() {
				f := frame.Frame{Call: 1, Kind: frame.Data, Body: make([]byte, frame.MaxBody)}
				w.Flush(frame.Append(w.BeginBody(), f))
			})
		}
	}
	sendBodies()
	for total, want := 0, len(frame.Preface)+senders*(frame.HeaderSize+frame.MaxBody); total < want; {
		send(w, frame.Frame{Call: 2, Kind: frame.Credit}) // does not wait
		want += frame.HeaderSize
		n := len(<-to)
		if most := 256<<10 + frame.MaxBody + senders*frame.HeaderSize; n > most {
			t.Fatalf("%d bytes in one write, want at most %d", n, most)
		}
		total += n
	}
	all.Wait()
	sendBodies()
	<-to
	done := make(chan struct{})
	go func() {
		for range to {
		}
		close(done)
	}()
	w.Close() // ends those that wait
	all.Wait()
	close(to)
	<-done
}

func TestWriterLosesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	from, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	const senders, each = 32, 200
	w := frame.NewWriter(to)
	body := bytes.Repeat([]byte("z"), 3000) // together more than the socket holds
	var all sync.WaitGroup
	for s := range uint32(senders) {
		all.Go(func() {
			for n := range byte(each) {
				body := bytes.Clone(body)
				body[0] = n
				send(w, frame.Frame{Call: s + 1, Kind: frame.Data, Body: body})
			}
		})
	}
	all.Wait() // before anything is read
	r, err := frame.NewReader(from)
	if err != nil {
		t.Fatal(err)
	}
	var next [senders]byte
	for range senders * each {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Body[0] != next[f.Call-1] {
			t.Fatalf("call %d: frame %d, want %d", f.Call, f.Body[0], next[f.Call-1])
		}
		next[f.Call-1]++
	}
	to.Close()
	w.Close()
	send(w, sample()[0]) // is dropped
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestFramesAreFree(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	w := frame.NewWriter(null)
	one := frame.Append(nil, sample()[1])
	r, err := frame.NewReader(io.MultiReader(bytes.NewReader([]byte(frame.Preface)), endless(one)))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		send(w, sample1)
	}); n > 0 {
		t.Errorf("a frame read and one sent cost %v allocations", n)
	}
}

var sample1 = sample()[1]

// endless reads the same bytes again and again, whole.
type endless []byte

func (e endless) Read(p []byte) (n int, err error) {
	for len(p)-n >= len(e) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func FuzzReader(f *testing.F) {
	for _, one := range sample() {
		if len(one.Body) < 1000 {
			f.Add(encoded([]frame.Frame{one}))
		}
	}
	f.Add([]byte("MFL\x01\xff\xff\xff\xff\x00\x00\x00\x01\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := readAll(bytes.NewReader(b))
		cut, cutErr := readAll(iotest.OneByteReader(bytes.NewReader(b)))
		if again := encoded(cut); !bytes.Equal(encoded(whole), again) || err.Error() != cutErr.Error() {
			t.Fatalf("read in two ways: %v, %v", err, cutErr)
		}
		if again := encoded(whole); len(b) >= len(frame.Preface) && err == io.EOF && !bytes.Equal(again, b) {
			t.Fatalf("%q is written as %q", b, again)
		}
	})
}
