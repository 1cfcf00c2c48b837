package bus

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	roomAgain = 16 << 20         // free bytes from which on a disk counts as no longer full
	mendEvery = 10 * time.Second // a disk that fills up again at once is not tried all the time
)

// fullDisk reports whether the server says that a write failed for lack of space. After
// any other failure nobody knows what the disk has kept.
func fullDisk(said string) bool {
	return strings.Contains(said, "no space left") || strings.Contains(said, "quota exceeded") || strings.Contains(said, "not enough space")
}

// A mender starts our server's JetStream again once a full disk has room: until then its
// streams accept no writes. They are read from disk as at a start of the server; streams
// in memory are lost, as then.
type mender struct {
	bus    *Bus
	config server.JetStreamConfig // the first: the server forgets it if it cannot start again
	last   time.Time
}

func newMender(b *Bus) *mender {
	m := &mender{bus: b}
	if b.server == nil {
		return m
	}
	if c := b.server.JetStreamConfig(); c != nil {
		m.config = *c
	}
	m.config.StoreDir = b.store
	return m
}

// try mends the store if that is needed and possible.
func (m *mender) try() {
	b := m.bus
	said := b.wedged.Load()
	if said == nil || !fullDisk(*said) || time.Since(m.last) < mendEvery {
		return
	}
	if free, ok := freeSpace(b.store); !ok || free < roomAgain {
		return
	}
	m.last = time.Now()
	b.log.Warn("disk space is available again; restarting JetStream", "file", b.store)
	if err := m.restart(); err != nil {
		b.log.Error("cannot restart JetStream", "err", err)
		return
	}
	b.wedged.CompareAndSwap(said, nil)
}

// restart may be called again after it failed: what is stopped is not stopped twice.
func (m *mender) restart() error {
	m.bus.starts.down.Store(true)
	if err := m.bus.server.ShutdownJetStream(); err != nil {
		return err
	}
	c := m.config // the server changes what it is given
	if err := m.bus.server.EnableJetStream(&c); err != nil {
		return err
	}
	m.bus.starts.n.Add(1)
	m.bus.starts.down.Store(false)
	return nil
}

// starts counts the starts of our server's JetStream after the first.
type starts struct {
	n    atomic.Uint64
	down atomic.Bool // from the stop until all streams are back
}

// Starts returns how often our server's JetStream was started again, and whether it is
// up: if not, streams may be missing that come back. It is always up if the server is
// not ours.
func (b *Bus) Starts() (n uint64, up bool) {
	up = b.server == nil || !b.starts.down.Load() && b.server.JetStreamEnabled()
	return b.starts.n.Load(), up
}
