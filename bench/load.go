package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A sample is the result of one measurement.
type sample struct {
	calls   int
	failed  int // replies other than 200 with the echo
	took    time.Duration
	latency []time.Duration // of each call, sorted
}

func (s sample) rate() float64 { return float64(s.calls) / s.took.Seconds() }

// quantile returns the latency below which the fraction q of calls stayed.
func (s sample) quantile(q float64) time.Duration {
	if len(s.latency) == 0 {
		return 0
	}
	return s.latency[min(int(q*float64(len(s.latency))), len(s.latency)-1)]
}

// A client is one keep-alive connection. It writes the same bytes for every call
// and parses as little of the reply as it can, so that the load driver takes little
// CPU from what it measures.
type client struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
	want    []byte
	large   []byte // for a reply that the reader has no room for
}

func dial(c *contestant, body string) (*client, error) {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	request := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", c.path, len(body), body)
	return &client{conn: conn, reader: bufio.NewReaderSize(conn, 16<<10), request: []byte(request), want: []byte(body)}, nil
}

var (
	okLine = []byte("HTTP/1.1 200")
	length = []byte("Content-Length:")
)

// call makes one call and reports whether the echo came back.
func (c *client) call() (bool, error) {
	if err := c.send(); err != nil {
		return false, err
	}
	return c.answer()
}

func (c *client) send() error {
	_, err := c.conn.Write(c.request)
	return err
}

// answer reads a reply and reports whether it is the echo.
func (c *client) answer() (bool, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return false, err
	}
	ok, size := bytes.HasPrefix(line, okLine), -1
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return false, err
		}
		if len(line) == 2 {
			break
		}
		if len(line) > len(length) && bytes.EqualFold(line[:len(length)], length) {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(line[len(length):]))); err != nil {
				return false, err
			}
		}
	}
	if size < 0 {
		same, err := c.chunks()
		return ok && same, err
	}
	if !ok || size != len(c.want) {
		_, err := c.reader.Discard(size)
		return false, err
	}
	body, err := c.reader.Peek(size)
	if err != nil && err != bufio.ErrBufferFull {
		return false, err
	}
	if err == bufio.ErrBufferFull {
		if c.large == nil {
			c.large = make([]byte, size)
		}
		_, err = io.ReadFull(c.reader, c.large)
		return bytes.Equal(c.large, c.want), err
	}
	same := bytes.Equal(body, c.want)
	_, err = c.reader.Discard(size)
	return same, err
}

// chunks reads a chunked body and reports whether it is the echo.
func (c *client) chunks() (bool, error) {
	same, rest := true, c.want
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return false, err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil {
			return false, fmt.Errorf("reply with neither Content-Length nor chunks: %w", err)
		}
		for left := int(size); left > 0; {
			part, err := c.reader.Peek(min(left, c.reader.Size()))
			if err != nil {
				return false, err
			}
			same = same && bytes.HasPrefix(rest, part)
			rest, left = rest[min(len(part), len(rest)):], left-len(part)
			c.reader.Discard(len(part)) // as many as were peeked
		}
		if _, err := c.reader.Discard(len("\r\n")); err != nil {
			return false, err
		}
		if size == 0 {
			return same && len(rest) == 0, nil
		}
	}
}

// closedLoop makes calls on each connection, one after the other, at least one.
func closedLoop(ctx context.Context, c *contestant, body string, connections int, d time.Duration) (sample, error) {
	return drive(ctx, c, body, connections, d, func(_ int, start time.Time) func() (time.Time, bool) {
		begun := false
		return func() (time.Time, bool) {
			now := time.Now()
			more := !begun || now.Sub(start) < d
			begun = true
			return now, more
		}
	})
}

// openLoop starts calls at a constant rate, each on the next free connection, and
// times each from when it should have started.
func openLoop(ctx context.Context, c *contestant, body string, connections, rate int, d time.Duration) (sample, error) {
	var next atomic.Int64
	interval := time.Second / time.Duration(rate)
	return drive(ctx, c, body, connections, d, func(_ int, start time.Time) func() (time.Time, bool) {
		return func() (time.Time, bool) {
			due := start.Add(time.Duration(next.Add(1)-1) * interval)
			if due.Sub(start) >= d {
				return due, false
			}
			time.Sleep(time.Until(due))
			return due, true
		}
	})
}

// drive opens the connections and makes calls on each, as long as pace returns when
// the next is due.
func drive(ctx context.Context, c *contestant, body string, connections int, d time.Duration, pace func(i int, start time.Time) func() (time.Time, bool)) (sample, error) {
	clients := make([]*client, connections)
	for i := range clients {
		var err error
		if clients[i], err = dial(c, body); err != nil {
			return sample{}, err
		}
		defer clients[i].conn.Close()
		if err := clients[i].conn.SetDeadline(time.Now().Add(d + 10*time.Second)); err != nil {
			return sample{}, err
		}
	}
	var (
		all      sync.WaitGroup
		failures atomic.Int64
		mu       sync.Mutex
		broken   error
		latency  []time.Duration
	)
	start := time.Now()
	for i, cl := range clients {
		all.Go(func() {
			next := pace(i, start)
			mine := make([]time.Duration, 0, 1<<14)
			for ctx.Err() == nil {
				due, more := next()
				if !more {
					break
				}
				ok, err := cl.call()
				if err != nil {
					mu.Lock()
					broken = err
					mu.Unlock()
					return
				}
				if !ok {
					failures.Add(1)
				}
				mine = append(mine, time.Since(due))
			}
			mu.Lock()
			latency = append(latency, mine...)
			mu.Unlock()
		})
	}
	all.Wait()
	s := sample{calls: len(latency), failed: int(failures.Load()), took: time.Since(start), latency: latency}
	slices.Sort(s.latency)
	if broken == nil {
		broken = ctx.Err()
	}
	return s, broken
}
