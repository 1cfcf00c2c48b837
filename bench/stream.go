package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// streams are connections on which a contestant sends events that bear their time.
type streams struct {
	conns   []net.Conn
	readers sync.WaitGroup

	mu       sync.Mutex
	counting bool
	late     []time.Duration // of each event that counts, from its time to here
	broken   error
}

var eventPrefix = []byte("data: ")

// openStreams returns when each of n streams has sent its first event. They begin a little
// apart, so that their events do not all come at once.
func openStreams(ctx context.Context, c *contestant, n int) (*streams, error) {
	s := &streams{}
	first := make(chan error, 2*n) // of each its first event, and its end
	for range n {
		conn, err := net.Dial("tcp", c.addr)
		if err == nil {
			s.conns = append(s.conns, conn)
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: text/event-stream\r\n\r\n", c.events)
		}
		if err != nil {
			s.close()
			return nil, err
		}
		s.readers.Go(func() {
			err := s.read(conn, first)
			s.fail(err)
			first <- err
		})
		time.Sleep(100 * time.Microsecond) // not all events at one moment
	}
	late := time.After(30 * time.Second)
	for i := range n {
		select {
		case err := <-first:
			if err != nil {
				s.close()
				return nil, fmt.Errorf("a stream ended: %w", err)
			}
		case <-late:
			s.close()
			return nil, fmt.Errorf("%d of %d streams have begun", i, n)
		case <-ctx.Done():
			s.close()
			return nil, ctx.Err()
		}
	}
	return s, nil
}

// read counts the events of a connection until it ends.
func (s *streams) read(conn net.Conn, first chan<- error) error {
	lines := bufio.NewReaderSize(conn, 4<<10)
	for begun := false; ; {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		text, ok := bytes.CutPrefix(line, eventPrefix)
		if !ok {
			continue // a header, an empty line, the size of a chunk
		}
		sent, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err != nil {
			return err
		}
		s.count(time.Since(time.Unix(0, sent)))
		if !begun {
			begun = true
			first <- nil
		}
	}
}

func (s *streams) count(late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counting {
		s.late = append(s.late, late)
	}
}

func (s *streams) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = err
	}
}

// listen counts the events of a while. Its calls are events.
func (s *streams) listen(ctx context.Context, d time.Duration) (sample, error) {
	s.mu.Lock()
	s.counting, s.late = true, make([]time.Duration, 0, len(s.conns)*(int(10*d.Seconds())+1))
	s.mu.Unlock()
	start := time.Now()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	took := time.Since(start)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counting = false
	if err := errors.Join(s.broken, ctx.Err()); err != nil {
		return sample{}, err
	}
	slices.Sort(s.late)
	return sample{calls: len(s.late), took: took, latency: s.late}, nil
}

// close ends the streams.
func (s *streams) close() {
	for _, conn := range s.conns {
		conn.Close()
	}
	s.readers.Wait()
}
