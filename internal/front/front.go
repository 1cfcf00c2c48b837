package front

import (
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

// A Server serves HTTP as http.Server does, whose fields of the same names it has.
// The zero value with a Handler serves. The fields must not be changed once it
// does.
type Server struct {
	Handler           http.Handler
	TLSConfig         *tls.Config // if set, net/http serves everything, with HTTPS and HTTP/2
	Off               bool        // net/http serves everything
	ReadHeaderTimeout time.Duration
	WriteTimeout      time.Duration // from the end of a request's head; up to an eighth more may be given
	IdleTimeout       time.Duration // up to an eighth more may be given
	MaxHeaderBytes    int
	ErrorLog          *log.Logger // the log package's if nil

	closing  atomic.Bool
	date     atomic.Pointer[dateLine]
	handover *handover

	mu       sync.Mutex
	listener net.Listener
	behind   *http.Server // takes what is handed over
	conns    map[*conn]struct{}
	emptied  chan struct{} // closed when conns is empty for good; nil before the end
	serving  sync.WaitGroup
}

// Serve answers what comes in by l until Shutdown or Close, and then returns
// http.ErrServerClosed when every handler has returned. It closes l. It may be
// called once.
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
	s.serving.Go(func() { _ = behind.Serve(s.handover) }) // it ends with s
	for {
		c, err := accept(l)
		if s.closing.Load() {
			if err == nil {
				_ = c.Close()
			}
			return http.ErrServerClosed
		}
		if err != nil {
			_ = s.Close() // nobody would hear of the connections any more
			return err
		}
		s.serve(newConn(s, c))
	}
}

// alone leaves the listener to net/http. stop closes it before net/http hears of
// the end, so its error may be about that.
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

// start makes what Serve needs, unless the server is closed already.
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
		Handler: s.Handler, TLSConfig: s.TLSConfig,
		ReadHeaderTimeout: s.ReadHeaderTimeout, WriteTimeout: s.WriteTimeout, IdleTimeout: s.IdleTimeout,
		MaxHeaderBytes: s.MaxHeaderBytes, ErrorLog: s.ErrorLog,
		DisableGeneralOptionsHandler: true, // the handler answers all there is
	}
	s.listener, s.handover, s.conns = l, newHandover(l.Addr()), map[*conn]struct{}{}
	return s.behind, nil
}

// accept takes the next connection. Where there is no room for one right now, it
// waits for it.
func accept(l net.Listener) (net.Conn, error) {
	for rest := 5 * time.Millisecond; ; rest = min(2*rest, time.Second) {
		c, err := l.Accept()
		temporary, ok := errors.AsType[net.Error](err)
		//lint:ignore SA1019 nothing else tells of too many open files
		if !ok || !temporary.Temporary() {
			return c, err
		}
		<-time.After(rest)
	}
}

// serve serves a connection in a goroutine of its own.
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

// forget takes a connection that has ended, or was handed over, from the list.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.emptied != nil {
		close(s.emptied) // once: none comes after the end
	}
}

// Shutdown stops accepting, closes the connections without a request, and returns
// when the others have their answers, with which they are closed too, or with
// ctx's error when ctx ends before.
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

// Close cuts all connections and ends their requests' contexts. It does not wait
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

// stop stops accepting. It returns what goes on: the server behind, if there is
// one, and the connections, with the channel that is closed when all have ended.
func (s *Server) stop() (behind *http.Server, conns []*conn, emptied <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	if s.behind != nil {
		s.behind.SetKeepAlivesEnabled(false) // it says from now on that connections end
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
	if s.ErrorLog != nil {
		s.ErrorLog.Printf(format, args...)
		return
	}
	log.Printf(format, args...)
}

// A dateLine is the Date header of one second.
type dateLine struct {
	second int64
	text   string
}

// dateLine returns the Date header, which is made once a second.
func (s *Server) dateLine(now time.Time) string {
	second := now.Unix()
	d := s.date.Load()
	if d == nil || d.second != second {
		d = &dateLine{second, "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		s.date.Store(d)
	}
	return d.text
}
