package bus

import (
	"strings"
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
	bus  *Bus
	last time.Time
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
	b.log.Warn("disk has room again, JetStream starts anew", "file", b.store)
	if err := restartJetStream(b.server, b.store); err != nil {
		b.log.Error("JetStream not started", "err", err)
		return
	}
	b.wedged.CompareAndSwap(said, nil)
}

func restartJetStream(s *server.Server, store string) error {
	c := s.JetStreamConfig()
	if err := s.ShutdownJetStream(); err != nil {
		return err
	}
	return s.EnableJetStream(&server.JetStreamConfig{
		StoreDir: store, SyncInterval: c.SyncInterval, SyncAlways: c.SyncAlways,
		MaxMemory: c.MaxMemory, MaxStore: c.MaxStore, Domain: c.Domain, Strict: c.Strict,
	})
}
