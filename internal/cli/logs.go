package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/logs"
	"github.com/mayfly-run/mayfly/internal/micro"
)

// logsVerb is the verb logs.
type logsVerb struct {
	client `embed:""`
	Name   string        `arg:"" optional:"" help:"Function or service; all by default."`
	Follow bool          `name:"follow" short:"f" help:"Keep printing new lines until Ctrl-C."`
	Since  time.Duration `name:"since" help:"Print only lines of the last TIME, such as 10m."`
	Call   string        `name:"call" help:"Print only lines of this call; replies carry its id in X-Call-Id." placeholder:"ID"`
	Last   int           `name:"last" short:"n" help:"Print only the last N lines. By default 100, or all with --since or --call." placeholder:"N"`
	JSON   bool          `name:"json" help:"Print each line as JSON."`
}

// Help is shown by mayfly logs --help.
func (*logsVerb) Help() string {
	return `A line has the time, the revision, the instance and the text. Lines from Mayfly
itself, such as a crash report, have "mayfly:" before the text.

  mayfly logs hello -f        follow the logs of hello
  mayfly logs --call 3kq7...  show one call, in every function it reached`
}

// someLines is the default number of lines.
const someLines = 100

// Run is called by kong.
func (l *logsVerb) Run(ctx context.Context, p *process) error {
	if l.Name != "" {
		if err := checkName(l.Name); err != nil {
			return err
		}
	}
	query, err := l.query(p, time.Now())
	if err != nil {
		return err
	}
	b, err := l.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	switch there, err := has(ctx, b, mayfly.StreamLogs); {
	case err != nil:
		return err
	case !there:
		return mayfly.Errorf(mayfly.NotFound, "no logs at %s", b.URL()).WithHint("start a node, which creates them: mayfly up --nats %s", b.URL())
	}
	all, err := logs.Open(ctx, b, logs.Options{})
	if err != nil {
		return err
	}
	defer all.Close()
	if err := l.check(ctx, b, all); err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	printed := 0
	err = all.Read(ctx, query, func(line mayfly.Line) error {
		printed++
		return l.print(p.stdout, line)
	})
	switch {
	case err != nil || printed > 0 || l.Follow:
		return err
	case l.Name == "" || l.Call != "" || l.Since > 0:
		p.note("no log lines")
	default:
		p.note("no log lines from %s", l.Name)
	}
	return nil
}

// check rejects a name that nothing has and that wrote no line, whatever is asked of it.
func (l *logsVerb) check(ctx context.Context, b *bus.Bus, all *logs.Logs) error {
	if l.Name == "" {
		return nil
	}
	pings := micro.Pings(b)
	if err := pings.AskQuick(ctx, 0, l.Name); err != nil || len(pings.Answers()) > 0 {
		return err
	}
	wrote := false
	err := all.Read(ctx, logs.Query{Function: l.Name, Last: 1}, func(mayfly.Line) error {
		wrote = true
		return nil
	})
	if err != nil || wrote {
		return err
	}
	return nobodyCalled(ctx, b, l.Name)
}

func (l *logsVerb) query(p *process, now time.Time) (logs.Query, error) {
	q := logs.Query{Function: l.Name, Call: l.Call, Last: l.Last, Follow: l.Follow}
	switch {
	case l.Since < 0:
		return q, mayfly.Errorf(mayfly.Invalid, "--since %s is in the future", l.Since).WithHint("try --since 10m or --since 2h30m")
	case l.Since > 0:
		q.Since = now.Add(-l.Since)
	}
	if l.Last == 0 && q.Since.IsZero() && l.Call == "" {
		q.Last = someLines
	}
	return q, nil
}

// print writes a line. Only a terminal gets colors: time and source are dimmed, the text
// is not.
func (l *logsVerb) print(w io.Writer, line mayfly.Line) error {
	if l.JSON {
		data, err := json.Marshal(line)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", data)
		return err
	}
	_, err := io.WriteString(w, lineText(line, isTerminal(w)))
	return err
}

// lineText formats a line for people.
func lineText(line mayfly.Line, coloured bool) string {
	const dim, cyan, red, normal = "\x1b[2m", "\x1b[36m", "\x1b[31m", "\x1b[0m"
	paint := func(colour, text string) string {
		if !coloured || text == "" {
			return text
		}
		return colour + text + normal
	}
	text := plainTabs(line.Text)
	switch line.Source {
	case mayfly.System:
		text = paint(dim, "mayfly: "+text)
	case mayfly.Stderr:
		text = paint(red, text)
	}
	who := mayfly.Unit{Name: mayfly.Name(plain(line.Function)), Revision: line.Revision}.String()
	return strings.TrimRight(fmt.Sprintf("%s %s %s %s",
		paint(dim, line.Time.Local().Format("2006-01-02 15:04:05.000")), paint(cyan, who), paint(dim, dash(plain(line.Instance))), text), " ") + "\n"
}

// plainTabs is plain, but tabs become spaces that keep columns aligned.
func plainTabs(s string) string { return plain(strings.ReplaceAll(s, "\t", "    ")) }
