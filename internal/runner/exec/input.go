package exec

import (
	"errors"
	"io"
	"sync"

	"github.com/mayfly-run/mayfly"
)

// An input is a streamed body on its way to stdin. To a program a broken body looks
// complete, so a call whose input breaks is ended.
type input struct {
	from   io.Reader
	gone   chan struct{} // closed when the process is gone
	broken chan struct{}
	once   sync.Once
	err    error // set before broken is closed
}

// Read implements io.Reader.
func (i *input) Read(p []byte) (int, error) {
	n, err := i.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		i.once.Do(func() {
			i.err = err
			close(i.broken)
		})
		<-i.gone // the program would take a return for the body's end
	}
	return n, err
}

// brokenOff returns a channel that is closed when the input breaks.
func (i *input) brokenOff() <-chan struct{} {
	if i == nil {
		return nil
	}
	return i.broken
}

// fault returns why the input broke, if it did.
func (i *input) fault() error {
	if i == nil {
		return nil
	}
	select {
	case <-i.broken:
	default:
		return nil
	}
	if _, ok := errors.AsType[*mayfly.Error](i.err); ok {
		return i.err
	}
	return mayfly.Errorf(mayfly.Invalid, "the request body was cut short: %w", i.err)
}
