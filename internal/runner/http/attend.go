package httpengine

import (
	"fmt"
	"net"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/link"
)

// await makes the socket on which the program may connect.
func (i *instance) await(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return mayfly.Errorf(mayfly.Internal, "listen for an instance: %w", err)
	}
	i.listener = l
	return nil
}

// attend takes the program's connection, if it makes one, and ends the program when that ends
// before it: no call would reach it anymore.
func (i *instance) attend() {
	defer close(i.attended)
	conn, err := i.listener.Accept()
	i.listener.Close()
	if err != nil {
		return
	}
	limits := i.spec.Limits.WithDefaults()
	l, err := link.Open(conn, link.Options{
		Timeout: time.Duration(limits.Timeout), IdleTimeout: time.Duration(limits.IdleTimeout), Broken: i.client.broken,
	})
	if err != nil {
		conn.Close()
		i.condemn(err)
		return
	}
	i.link.Store(l)
	close(i.arrived)
	defer l.End()
	select {
	case <-l.Done():
		i.condemn(fmt.Errorf("the connection ended: %w", l.Err()))
	case <-i.process.Done():
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-l.Done(): // all that it sent was read
		case <-timer.C:
		}
	}
}

// condemn ends a program that does not end by itself in a moment, because of what it sent.
func (i *instance) condemn(fault error) {
	timer := time.NewTimer(postMortem)
	defer timer.Stop()
	select {
	case <-i.process.Done():
	case <-timer.C:
		i.fault.Store(&fault)
		i.process.Kill()
	}
}
