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
	gatherFirst = time.Second            // for the first answer
	gatherQuiet = 300 * time.Millisecond // without another answer: the end
	gatherMost  = 5 * time.Second        // in all

	quickLeast = 40 * time.Millisecond // minimum wait of GatherQuick, for this machine's answers
	quickQuiet = 20 * time.Millisecond // its minimum wait for one more
)

// An Answer is one of many replies to a question.
type Answer struct {
	Body []byte
	Took time.Duration // since the question
}

// An Inbox receives the answers to questions that many may answer, whenever they arrive.
type Inbox struct {
	link    *link
	subject string
	stop    func()
}

// Inbox returns an inbox that passes each answer to f, one at a time, until it is
// closed; nobody is true if the subject asked has no subscribers. f must not block: it
// holds up all replies of the bus. Its questions go to users' subjects.
func (b *Bus) Inbox(f func(answer []byte, nobody bool)) *Inbox { return b.links[0].inbox(f) }

func (l *link) inbox(f func(answer []byte, nobody bool)) *Inbox {
	subject, stop := l.replies.listen(func(m *nats.Msg) { f(m.Data, nobody(m)) })
	return &Inbox{l, subject, stop}
}

// Ask publishes an empty question on a subject.
func (i *Inbox) Ask(subject string) error {
	return i.link.publish(&nats.Msg{Subject: subject, Reply: i.subject})
}

// Close drops all later answers.
func (i *Inbox) Close() { i.stop() }

// Gather sends a question to a subject that many answer, such as $SRV.PING, and
// returns the answers once no more arrive. No responders is an empty list, not an
// error.
func (b *Bus) Gather(ctx context.Context, subject string) ([]Answer, error) {
	var answers []Answer
	err := b.gather(ctx, subject, gatherFirst,
		func(time.Duration, time.Duration) time.Duration { return gatherQuiet },
		func(a Answer) { answers = append(answers, a) })
	return answers, err
}

// GatherQuick is Gather for people at a terminal: it ends when nothing arrived for four
// times the widest gap so far. This machine's services all arrive within 40 ms, and slow
// ones get the same wait as in Gather. first is the timeout of the first answer, 1 s if
// zero. each gets the answers one at a time, as they arrive.
func (b *Bus) GatherQuick(ctx context.Context, subject string, first time.Duration, each func(Answer)) error {
	return b.gather(ctx, subject, cmp.Or(first, gatherFirst), quickRest, each)
}

// quickRest returns how long to wait for one more answer, by the widest gap so far and
// the time since the question.
func quickRest(widest, passed time.Duration) time.Duration {
	return max(quickLeast-passed, min(max(4*widest, quickQuiet), gatherQuiet))
}

// gather asks and takes answers until none arrives within first, and after the first
// one within rest.
func (b *Bus) gather(ctx context.Context, subject string, first time.Duration, rest func(widest, passed time.Duration) time.Duration, each func(Answer)) error {
	if strings.ContainsFunc(subject, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return mayfly.Errorf(mayfly.Invalid, "subject %q has a space or control character", subject)
	}
	ctx, cancel := context.WithTimeout(ctx, gatherMost)
	defer cancel()
	l, err := b.linkOf(subject)
	if err != nil {
		return err
	}
	type arrival struct {
		Answer
		nobody bool
	}
	came := make(chan arrival, 1024)
	asked := time.Now()
	inbox := l.inbox(func(answer []byte, nobody bool) {
		select {
		case came <- arrival{Answer{Body: answer, Took: time.Since(asked)}, nobody}:
		case <-ctx.Done():
		}
	})
	defer inbox.Close()
	defer cancel() // before Close, to release a waiting inbox
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
