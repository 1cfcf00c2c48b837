package bus

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// answer subscribes now, and again on every connection that replaces the current one.
func (l *link) answer(subject string, handler nats.MsgHandler) (stop func(), err error) {
	l.answersMu.Lock()
	defer l.answersMu.Unlock()
	nc := l.conn.Load()
	sub, err := nc.Subscribe(subject, handler)
	if err == nil {
		err = nc.FlushTimeout(dialTimeout) // requests from now on are answered
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	l.answers[subject] = handler
	return func() {
		l.answersMu.Lock()
		defer l.answersMu.Unlock()
		delete(l.answers, subject)
		_ = sub.Unsubscribe() // a closed connection has no subscriptions
	}, nil
}
