package bus

import (
	"context"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go"
)

const (
	gatherFirst = time.Second            // how long the first answer may take
	gatherQuiet = 300 * time.Millisecond // how long none may come before we take it for the end
	gatherMost  = 5 * time.Second        // how long it may go on at all
)

// An Answer is one message of many that came back to a question.
type Answer struct {
	Body []byte
	Took time.Duration // since the question
}

// Gather sends a question to a subject that many answer, such as $SRV.PING, and
// returns what came back once nothing more comes. Nobody there is no error: the
// list is empty then.
func (b *Bus) Gather(ctx context.Context, subject string) ([]Answer, error) {
	if strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, mayfly.Errorf(mayfly.Invalid, "subject %q has a space or control character", subject)
	}
	ctx, cancel := context.WithTimeout(ctx, gatherMost)
	defer cancel()
	l := b.links[0]
	came := make(chan *nats.Msg, 1024)
	inbox, stop := l.replies.listen(func(m *nats.Msg) {
		select {
		case came <- m:
		case <-ctx.Done():
		}
	})
	defer stop()
	defer cancel() // before stop, so that a waiting listener lets go
	asked := time.Now()
	if err := l.publish(&nats.Msg{Subject: subject, Reply: inbox}); err != nil {
		return nil, err
	}
	var answers []Answer
	quiet := time.NewTimer(gatherFirst)
	defer quiet.Stop()
	for {
		select {
		case m := <-came:
			if nobody(m) {
				return nil, nil
			}
			answers = append(answers, Answer{Body: m.Data, Took: time.Since(asked)})
			quiet.Reset(gatherQuiet)
		case <-quiet.C:
			return answers, nil
		case <-ctx.Done():
			return answers, nil
		}
	}
}
