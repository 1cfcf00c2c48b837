package bus

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// Answer answers each message on a subject of Mayfly's own with what f returns,
// until stop is called. f runs in the connection's goroutine: it must not block.
func (b *Bus) Answer(subject string, f func(question []byte) []byte) (stop func(), err error) {
	return b.links[0].answer(subject, func(m *nats.Msg) {
		if m.Reply == "" {
			return // nobody wants to know
		}
		if err := m.Respond(f(m.Data)); err != nil {
			b.log.Debug("answer not sent", "subject", subject, "err", err)
		}
	})
}

// answer subscribes now, and again on every connection that stands in for the
// present one.
func (l *link) answer(subject string, handler nats.MsgHandler) (stop func(), err error) {
	l.answersMu.Lock()
	defer l.answersMu.Unlock()
	nc := l.conn.Load()
	sub, err := nc.Subscribe(subject, handler)
	if err == nil {
		err = nc.FlushTimeout(dialTimeout) // whoever asks from now on is answered
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	l.answers[subject] = handler
	return func() {
		l.answersMu.Lock()
		defer l.answersMu.Unlock()
		delete(l.answers, subject)
		_ = sub.Unsubscribe() // a connection that is gone has no subscriptions
	}, nil
}
