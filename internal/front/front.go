package front

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Server serves HTTP like http.Server; fields of the same name mean the same. Only
// Handler is required. The fields must not be changed while it serves.
type Server struct {
	Handler           http.Handler
	TLSConfig         *tls.Config // if set, net/http serves everything, with HTTPS and HTTP/2
	Off               bool        // net/http serves everything
	ReadHeaderTimeout time.Duration
	WriteTimeout      time.Duration // from the end of a request's head; may last an eighth longer
	IdleTimeout       time.Duration // may last an eighth longer
	MaxHeaderBytes    int
	ErrorLog          *log.Logger // the log package's if nil

	closing  atomic.Bool
	date     atomic.Pointer[dateLine]
	handover *handover

	mu       sync.Mutex
	listener net.Listener
	behind   *http.Server // serves what is handed over
	conns    map[*conn]struct{}
	emptied  chan struct{} // closed when conns is empty for good; nil until stopped
	serving  sync.WaitGroup
}

// Serve serves connections of l until Shutdown or Close, then returns
// http.ErrServerClosed once every handler has returned. It closes l. Call it only
// once.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	behind, err := s.start(l)
	if err != nil {
		return err
	}
	if s.TLSConfig != nil || s.Off {
		return s.alone(behind, l)
	}
	defer s.serving.Wait()
	s.serving.Go(func() { _ = behind.Serve(s.handover) }) // ends with s
	for {
		c, err := accept(l)
		if s.closing.Load() {
			if err == nil {
				_ = c.Close()
			}
			return http.ErrServerClosed
		}
		if err != nil {
			_ = s.Close() // nothing else would close the connections
			return err
		}
		s.serve(newConn(s, c))
	}
}

// alone leaves the listener to net/http. stop closes it before net/http is shut down,
// so its error may say that.
func (s *Server) alone(behind *http.Server, l net.Listener) error {
	serve := behind.Serve
	if s.TLSConfig != nil {
		serve = func(l net.Listener) error { return behind.ServeTLS(l, "", "") }
	}
	if err := serve(l); !s.closing.Load() {
		return err
	}
	return http.ErrServerClosed
}

// start prepares Serve, unless the server is already closed.
func (s *Server) start(l net.Listener) (*http.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return nil, http.ErrServerClosed
	}
	if s.behind != nil {
		return nil, errors.New("front: Serve was called before")
	}
	s.behind = &http.Server{
		Handler: closeAmbiguous(s.Handler), ConnContext: withFraming, TLSConfig: s.TLSConfig,
		ReadHeaderTimeout: s.ReadHeaderTimeout, WriteTimeout: s.WriteTimeout, IdleTimeout: s.IdleTimeout,
		ErrorLog:                     s.ErrorLog,
		DisableGeneralOptionsHandler: true, // the handler answers every request
	}
	s.behind.MaxHeaderBytes = s.MaxHeaderBytes
	if s.TLSConfig == nil && s.MaxHeaderBytes > bufioSlop {
		s.behind.MaxHeaderBytes -= bufioSlop
	}
	s.listener, s.handover, s.conns = l, newHandover(l.Addr()), map[*conn]struct{}{}
	return s.behind, nil
}

// bufioSlop is how much more than MaxHeaderBytes net/http reads of an HTTP/1 head. HTTP/2
// is exact.
const bufioSlop = 4 << 10

// accept accepts the next connection. If the system is out of files, it waits.
func accept(l net.Listener) (net.Conn, error) {
	for rest := 5 * time.Millisecond; ; rest = min(2*rest, time.Second) {
		c, err := l.Accept()
		temporary, ok := errors.AsType[net.Error](err)
		//lint:ignore SA1019 nothing else reports too many open files
		if !ok || !temporary.Temporary() {
			return c, err
		}
		<-time.After(rest)
	}
}

// serve serves a connection in a goroutine.
func (s *Server) serve(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		_ = c.net.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.serving.Go(func() { c.serve(context.Background()) })
}

// forget unlists a connection that has ended or was handed over.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.emptied != nil {
		close(s.emptied) // once: no connection is added after the end
	}
}

// Shutdown stops accepting, closes connections without a request, and returns when
// the others have been answered and closed, or with ctx's error when ctx ends
// first.
func (s *Server) Shutdown(ctx context.Context) error {
	behind, conns, emptied := s.stop()
	for _, c := range conns {
		if c.state.CompareAndSwap(stateIdle, stateClosed) {
			_ = c.net.Close()
		}
	}
	if behind != nil {
		if err := behind.Shutdown(ctx); err != nil {
			return err
		}
	}
	select {
	case <-emptied:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close cuts all connections and cancels their requests' contexts. It does not wait
// for the handlers: Serve does.
func (s *Server) Close() error {
	behind, conns, _ := s.stop()
	for _, c := range conns {
		_ = c.net.Close()
		c.watcher.leave()
	}
	if behind == nil {
		return nil
	}
	return behind.Close()
}

// stop stops accepting. It returns what continues: the server behind, if any, and the
// connections, with a channel that is closed when all have ended.
func (s *Server) stop() (behind *http.Server, conns []*conn, emptied <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	if s.behind != nil {
		s.behind.SetKeepAlivesEnabled(false) // it announces from now on that connections close
		_ = s.listener.Close()
		_ = s.handover.Close()
	}
	if s.emptied == nil {
		s.emptied = make(chan struct{})
		if len(s.conns) == 0 {
			close(s.emptied)
		}
	}
	return s.behind, slices.Collect(maps.Keys(s.conns)), s.emptied
}

func (s *Server) logf(format string, args ...any) {
	cmp.Or(s.ErrorLog, log.Default()).Printf(format, args...)
}

// A dateLine caches the Date header for a second.
type dateLine struct {
	second int64
	text   string
}

// dateLine returns the Date header, formatted once a second.
func (s *Server) dateLine(now time.Time) string {
	second := now.Unix()
	d := s.date.Load()
	if d == nil || d.second != second {
		d = &dateLine{second, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		s.date.Store(d)
	}
	return d.text
}
