package httpengine

import "net"

// A probe cannot tell here: a stale connection fails its next call.
type probe struct{}

func newProbe(net.Conn) *probe { return nil }

func (*probe) stale() bool { return false }

func (*probe) ask([]byte, []byte) (written, read int, err error) { return 0, 0, nil }
