package logs

import (
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/nats-io/nats.go/jetstream"
)

// state is the stream. A changed configuration needs the next layout.
var state = bus.State{
	Stream: &jetstream.StreamConfig{
		Name: mayfly.StreamLogs, Description: "Mayfly: what instances wrote",
		Subjects:  []string{mayfly.SubjectLogs + ".*.*"},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: 7 * 24 * time.Hour, MaxConsumers: -1,
		Duplicates: time.Minute, // for our own second tries
		// Compression would read, compress and write each block of 8 MiB anew: in a flood that
		// is most of the node's memory. The limit counts bytes before compression anyway.
		Compression: jetstream.NoCompression,
	},
	Layout: 2, Percent: 5, Bytes: 256 << 20,
}
