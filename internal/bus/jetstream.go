package bus

import (
	"github.com/nats-io/nats.go/jetstream"
)

// JetStream returns the way to streams, buckets and objects over the present
// connection. Ask again for each piece of work: a connection that closed for good
// is replaced by another.
func (b *Bus) JetStream() (jetstream.JetStream, error) {
	js, err := jetstream.New(b.links[0].conn.Load().Conn)
	if err != nil {
		return nil, unavailable(err)
	}
	return js, nil
}
