package bus

import (
	"cmp"
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

	glance      = 40 * time.Millisecond // how long answers of this machine may take at least
	glanceQuiet = 20 * time.Millisecond // how long none may come when all came one upon the other
)

// An Answer is one message of many that came back to a question.
type Answer struct {
	Body []byte
	Took time.Duration // since the question
}

// An Inbox takes the answers to questions that many may answer, whenever they come.
type Inbox struct {
	link    *link
	subject string
	stop    func()
}

// Inbox returns an inbox that gives each answer to f, one at a time, until it is
// closed; nobody says that no one is subscribed to what was asked. f must not block:
// all replies of the bus wait behind it.
func (b *Bus) Inbox(f func(answer []byte, nobody bool)) *Inbox {
	l := b.links[0]
	subject, stop := l.replies.listen(func(m *nats.Msg) { f(m.Data, nobody(m)) })
	return &Inbox{l, subject, stop}
}

// Ask publishes an empty question on a subject.
func (i *Inbox) Ask(subject string) error {
	return i.link.publish(&nats.Msg{Subject: subject, Reply: i.subject})
}

// Close drops the answers that come from now on.
func (i *Inbox) Close() { i.stop() }

// Gather sends a question to a subject that many answer, such as $SRV.PING, and
// returns what came back once nothing more comes. Nobody there is no error: the
// list is empty then.
func (b *Bus) Gather(ctx context.Context, subject string) ([]Answer, error) {
	var answers []Answer
	err := b.gather(ctx, subject, gatherFirst,
		func(time.Duration, time.Duration) time.Duration { return gatherQuiet },
		func(a Answer) { answers = append(answers, a) })
	return answers, err
}

// Glance is Gather for those who wait before a terminal: nothing more comes when
// nothing came for several times the widest gap so far. So a machine's own services
// are all there in 40 ms, and who answers slowly is waited for as Gather does. first
// is how long the first answer may take; a second if zero. each gets the answers one
// at a time, while others are on their way.
func (b *Bus) Glance(ctx context.Context, subject string, first time.Duration, each func(Answer)) error {
	return b.gather(ctx, subject, cmp.Or(first, gatherFirst), restOfGlance, each)
}

// restOfGlance returns how long to wait for one more answer, after gaps of which the
// widest is known, so long after the question.
func restOfGlance(widest, passed time.Duration) time.Duration {
	return max(glance-passed, min(max(4*widest, glanceQuiet), gatherQuiet))
}

// gather asks and goes on until an answer was waited for in vain: the first as long
// as first, each other as long as rest says.
func (b *Bus) gather(ctx context.Context, subject string, first time.Duration, rest func(widest, passed time.Duration) time.Duration, each func(Answer)) error {
	if strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return mayfly.Errorf(mayfly.Invalid, "subject %q has a space or control character", subject)
	}
	ctx, cancel := context.WithTimeout(ctx, gatherMost)
	defer cancel()
	type arrival struct {
		Answer
		nobody bool
	}
	came := make(chan arrival, 1024)
	asked := time.Now()
	inbox := b.Inbox(func(answer []byte, nobody bool) {
		select {
		case came <- arrival{Answer{Body: answer, Took: time.Since(asked)}, nobody}:
		case <-ctx.Done():
		}
	})
	defer inbox.Close()
	defer cancel() // before Close, so that a waiting inbox lets go
	if err := inbox.Ask(subject); err != nil {
		return err
	}
	var last, widest time.Duration
	quiet := time.NewTimer(first)
	defer quiet.Stop()
	for {
		select {
		case a := <-came:
			if a.nobody {
				return nil
			}
			each(a.Answer)
			last, widest = a.Took, max(widest, a.Took-last)
			quiet.Reset(rest(widest, time.Since(asked)))
		case <-quiet.C:
			if len(came) > 0 {
				continue // we were busy, not they
			}
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
