package exec

import (
	"errors"
	"io"
	"sync"

	"github.com/mayfly-run/mayfly"
)

// An upload is a streamed body on its way to stdin. To a program a broken body looks
// complete, so a call whose upload breaks is ended.
type upload struct {
	from   io.Reader
	gone   chan struct{} // closed when the process is gone
	broken chan struct{}
	once   sync.Once
	err    error // set before broken is closed
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.once.Do(func() {
			u.err = err
			close(u.broken)
		})
		<-u.gone // the program would take a return for the body's end
	}
	return n, err
}

// brokenOff returns a channel that is closed when the upload breaks.
func (u *upload) brokenOff() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.broken
}

// fault returns why the upload broke, if it did.
func (u *upload) fault() error {
	if u == nil {
		return nil
	}
	select {
	case <-u.broken:
	default:
		return nil
	}
	if _, ok := errors.AsType[*mayfly.Error](u.err); ok {
		return u.err
	}
	return mayfly.Errorf(mayfly.Invalid, "the request body was cut short: %w", u.err)
}
