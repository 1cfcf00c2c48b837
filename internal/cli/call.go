package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
)

// callVerb is the verb call.
type callVerb struct {
	client  `embed:""`
	First   *string       `arg:"" optional:"" help:"Function or service to call."`
	Second  *string       `arg:"" optional:"" help:"Endpoint of the service, or the body."`
	Third   *string       `arg:"" optional:"" help:"The body."`
	Subject string        `name:"subject" short:"s" help:"Call this subject instead of a name." placeholder:"SUBJECT"`
	File    string        `name:"file" short:"f" help:"Read the body from a file." placeholder:"FILE"`
	Header  []string      `name:"header" short:"H" sep:"none" help:"Add a header; may be repeated." placeholder:"'NAME: VALUE'"`
	Include bool          `name:"include" short:"i" help:"Print the status and headers before the body, as curl -i does."`
	Timeout time.Duration `name:"timeout" help:"Time to wait for the reply. By default the timeout of a function, or 30s if it has none, and 5s for anything else." placeholder:"TIME"`
}

// callWait is the default timeout of a call of anything but a function.
const callWait = 5 * time.Second

// Help is shown by mayfly call --help.
func (*callVerb) Help() string {
	return `NAME is a service if one of that name answers, else a function. A service is
followed by its endpoint, by name or subject, which may be left out if there is
only one. A function is followed by the body. While a node builds or starts what
has the name, the call waits.

The body is the last argument, the file given with --file, or piped input. Use -
to read standard input in any case, and -- before a body that begins with -. The
body of the reply is printed unchanged. Errors go to stderr, and their status
sets the exit code.

  mayfly call hello '{"name":"Ada"}'       call the function hello
  mayfly call HackerNews top 3             call the endpoint top of a service
  mayfly call --subject tasks < task.json  call what listens on a subject`
}

// Run is called by kong.
func (c *callVerb) Run(ctx context.Context, p *process) error {
	if err := c.check(p); err != nil {
		return err
	}
	header, err := c.headers()
	if err != nil {
		return err
	}
	b, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	subject, wait, words, err := c.target(ctx, p, b)
	if err != nil {
		return err
	}
	body, err := c.body(p, words, b.MaxPayload())
	if err != nil {
		return err
	}
	wait = cmp.Or(c.Timeout, wait)
	call := mayfly.Call{ID: strings.ToLower(rand.Text()), Subject: subject, Header: header, Body: body, Deadline: time.Now().Add(wait)}
	reply, err := b.Call(ctx, call)
	if errors.Is(err, mayfly.ErrNobody) && c.Subject == "" {
		return nobodyCalled(ctx, b, *c.First)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return mayfly.Errorf(mayfly.Timeout, "no reply on subject %q within %s", subject, wait).
			WithHint("it may still be working; raise --timeout (now %s), or check its log", wait)
	}
	if err != nil {
		return c.crashed(err, call)
	}
	if err := c.print(p, reply, call.ID); err != nil {
		return err
	}
	return serviceError(reply, call.ID)
}

// crashed adds the command that shows the function's own error output.
func (c *callVerb) crashed(err error, call mayfly.Call) error {
	name, ok := strings.CutPrefix(string(call.Subject), mayfly.SubjectFunctions+".")
	if !ok || mayfly.CodeOf(err) != mayfly.Crashed || mayfly.HintOf(err) != "" {
		return err
	}
	return mayfly.Errorf(mayfly.Crashed, "%w", err).WithHint("mayfly logs %s --call %s", name, call.ID)
}

// words returns the arguments. The parser gets three because it accepts flags between
// those but not inside a list, and pointers because an empty body is valid.
func (c *callVerb) words() (words []string) {
	for _, w := range []*string{c.First, c.Second, c.Third} {
		if w != nil {
			words = append(words, *w)
		}
	}
	return words
}

// check rejects what is invalid without asking a server.
func (c *callVerb) check(p *process) error {
	words := c.words()
	switch {
	case c.Timeout < 0, c.Timeout == 0 && slices.Contains(p.set, "timeout"):
		return mayfly.Errorf(mayfly.Invalid, "--timeout must be positive, not %s", c.Timeout).WithHint("try --timeout 500ms or --timeout 30s")
	case c.Subject != "":
		_, err := mayfly.ParseSubject(c.Subject)
		return err
	case len(words) == 0:
		return mayfly.Errorf(mayfly.Invalid, "nothing to call").WithHint("run mayfly call NAME BODY, or mayfly list to see the names")
	default:
		return checkName(words[0])
	}
}

// headers reads --header.
func (c *callVerb) headers() (http.Header, error) {
	h := http.Header{}
	for _, text := range c.Header {
		name, value, ok := strings.Cut(text, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		bad := mayfly.Errorf(mayfly.Invalid, "header %q is not of the form NAME: VALUE", mayfly.Clip(text)).
			WithHint("write it like -H 'Accept: application/json', without line breaks")
		if !ok || name == "" || strings.ContainsFunc(name, notInHeaderName) || strings.ContainsAny(text, "\r\n\x00") {
			return nil, bad
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		h[key] = append(h[key], value)
	}
	return h, nil
}

// notInHeaderName reports whether r would end or spoil a header's name on the wire.
func notInHeaderName(r rune) bool { return r <= ' ' || r > '~' || r == ':' }

// awaitTick is the pause between two looks at what is being built.
const awaitTick = 200 * time.Millisecond

// target finds the subject that the words mean, its timeout, and the words left over:
// the body or nothing.
func (c *callVerb) target(ctx context.Context, p *process, b *bus.Bus) (subject mayfly.Subject, wait time.Duration, rest []string, err error) {
	if c.Subject != "" {
		return mayfly.Subject(c.Subject), callWait, c.words(), nil // checked
	}
	words := c.words()
	name := words[0]
	rest = words[1:]
	known, there, err := c.find(ctx, b, name, rest)
	if err == nil && !there {
		known, there, err = c.await(ctx, p, b, name, rest)
	}
	if err != nil {
		return "", 0, nil, err
	}
	if !there || isFunction(known) { // its node knows better what took so long
		return mayfly.Subject(mayfly.SubjectFunctions + "." + name), replyTimeout(known) + mayfly.FunctionGrace, rest, nil
	}
	subject, rest, err = pickEndpoint(known, rest)
	return subject, callWait, rest, err
}

// find returns the service or function of a name, if one answers, with all endpoints that
// may be meant.
func (c *callVerb) find(ctx context.Context, b *bus.Bus, name string, rest []string) (known mayfly.Service, there bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Timeout, callWait))
	defer cancel()
	// The first instance to answer will do, and takes no longer than a call. The others
	// matter only if it does not know the endpoint, being of another version.
	infos := micro.Infos(b)
	known, there = infos.AskAny(ctx, name)
	if knows(known, rest) {
		return known, there, nil
	}
	if err := infos.Ask(ctx, name); err != nil {
		return mayfly.Service{}, false, err
	}
	if all := infos.Answers(); len(all) > 0 {
		known, there = mergeEndpoints(all), true
	}
	return known, there, nil
}

// await is find for a name that nothing answers to: while a node builds or starts what has it,
// it waits, as callers over HTTP do.
func (c *callVerb) await(ctx context.Context, p *process, b *bus.Bus, name string, rest []string) (known mayfly.Service, there bool, err error) {
	wait := cmp.Or(c.Timeout, mayfly.FunctionTimeout)
	late := time.After(wait)
	u, coming := condition(ctx, b, name)
	if coming = coming && onItsWay(u); coming {
		p.note("%s %s is %s: waiting up to %s", u.Kind, name, u.State, wait)
	}
	for coming && !there && err == nil {
		select {
		case <-late:
			return known, false, problem(u)
		case <-ctx.Done():
			return known, false, ctx.Err()
		case <-time.After(awaitTick):
		}
		// It looks first whether there is more to wait for, lest what came in between is missed.
		u, coming = condition(ctx, b, name)
		coming = coming && onItsWay(u)
		known, there, err = c.find(ctx, b, name, rest)
	}
	return known, there, err
}

// replyTimeout returns how long to wait for a function's reply: at least its timeout.
func replyTimeout(s mayfly.Service) time.Duration {
	if len(s.Endpoints) == 0 {
		return mayfly.FunctionTimeout
	}
	return cmp.Or(s.Endpoints[0].Timeout(), mayfly.FunctionTimeout)
}

// knows reports whether one answer is enough to find the endpoint.
func knows(s mayfly.Service, words []string) bool {
	return isFunction(s) || len(words) > 0 && len(findEndpoints(s, words[0])) > 0
}

// mergeEndpoints returns the first instance with the endpoints of all.
func mergeEndpoints(all []mayfly.Service) mayfly.Service {
	merged := all[0]
	merged.Endpoints = nil
	for _, a := range all {
		for _, e := range a.Endpoints {
			if !slices.ContainsFunc(merged.Endpoints, func(have mayfly.Endpoint) bool { return have.Name == e.Name && have.Subject == e.Subject }) {
				merged.Endpoints = append(merged.Endpoints, e)
			}
		}
	}
	return merged
}

// findEndpoints returns the endpoints of that name or, if there are none, of that subject.
func findEndpoints(s mayfly.Service, word string) []mayfly.Endpoint {
	var named, on []mayfly.Endpoint
	for _, e := range s.Endpoints {
		if e.Name == word {
			named = append(named, e)
		}
		if e.Subject == word {
			on = append(on, e)
		}
	}
	if named != nil {
		return named
	}
	return on
}

// pickEndpoint returns the subject of the endpoint that the first word names, or of the
// only one.
func pickEndpoint(s mayfly.Service, words []string) (mayfly.Subject, []string, error) {
	var found []mayfly.Endpoint
	if len(words) > 0 {
		found = findEndpoints(s, words[0])
	}
	if found != nil {
		words = words[1:]
	} else if len(s.Endpoints) == 1 && len(words) < 2 {
		found = s.Endpoints
	}
	var names []string
	choices := found
	if choices == nil {
		choices = s.Endpoints
	}
	for _, e := range choices {
		names = append(names, plain(e.Name)+" on "+plain(e.Subject))
	}
	there := clipList(names, 8)
	switch {
	case len(s.Endpoints) == 0:
		return "", nil, mayfly.Errorf(mayfly.NotFound, "service %q has no endpoints", s.Name).WithHint("see mayfly info %s", plain(s.Name))
	case found == nil && len(words) == 0:
		return "", nil, mayfly.Errorf(mayfly.Invalid, "service %q has several endpoints: name one", s.Name).WithHint("choose one of: %s", there)
	case found == nil:
		return "", nil, mayfly.Errorf(mayfly.NotFound, "service %q has no endpoint %q", s.Name, mayfly.Clip(words[0])).WithHint("choose one of: %s", there)
	case len(found) > 1:
		return "", nil, mayfly.Errorf(mayfly.Conflict, "service %q has several endpoints of that name", s.Name).
			WithHint("choose by subject: %s", there)
	}
	subject, err := mayfly.ParseSubject(found[0].Subject)
	if err != nil {
		return "", nil, mayfly.Errorf(mayfly.Invalid, "endpoint %q cannot be called by name: %w", found[0].Name, err).
			WithHint("fill in its wildcards: mayfly call --subject SUBJECT")
	}
	return subject, words, nil
}

// body returns what to send: at most one byte more than the server accepts, so that the
// bus rejects what is too large.
func (c *callVerb) body(p *process, words []string, most int64) ([]byte, error) {
	if len(words) > 1 || len(words) == 1 && c.File != "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "the body is given twice").
			WithHint("quote a body that has spaces; see mayfly call --help")
	}
	from := p.stdin
	switch {
	case c.File != "":
		f, err := os.Open(c.File)
		if err != nil {
			return nil, fileError(c.File, err)
		}
		defer f.Close()
		from = f
	case len(words) == 1 && words[0] != "-":
		return []byte(words[0]), nil
	case len(words) == 0 && !isFed(p.stdin):
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read the body: %w", err)
	}
	return body, nil
}

// fileError tells a missing file from an unreadable one.
func fileError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return mayfly.Errorf(mayfly.NotFound, "no file %s", path)
	}
	return mayfly.Errorf(mayfly.Invalid, "read %s: %w", path, err)
}

// isFed reports whether the input is a pipe or a file.
func isFed(stdin io.Reader) bool {
	f, ok := stdin.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&(fs.ModeCharDevice|fs.ModeDevice|fs.ModeDir) == 0
}

// print writes the reply to the output, byte for byte. With --include, what curl -i shows
// of a gateway's response comes first.
func (c *callVerb) print(p *process, r mayfly.Reply, id string) error {
	var head strings.Builder
	if c.Include {
		header := r.Header.Clone()
		if header == nil {
			header = http.Header{}
		}
		header.Set(mayfly.HeaderCallID, id)
		header.Set("Content-Length", strconv.Itoa(len(r.Body)))
		fmt.Fprintf(&head, "HTTP/1.1 %s\n", statusText(r.Status))
		for _, k := range slices.Sorted(maps.Keys(header)) {
			for _, v := range header[k] {
				fmt.Fprintf(&head, "%s: %s\n", plain(k), plain(v))
			}
		}
		head.WriteByte('\n')
	}
	if _, err := io.WriteString(p.stdout, head.String()); err != nil {
		return err
	}
	if _, err := p.stdout.Write(r.Body); err != nil {
		return err
	}
	if n := len(r.Body); n > 0 && r.Body[n-1] != '\n' && isTerminal(p.stdout) {
		_, err := io.WriteString(p.stdout, "\n") // puts the prompt on its own line
		return err
	}
	return nil
}

// serviceError returns the error that the service reported, if any.
func serviceError(r mayfly.Reply, id string) error {
	err := r.Err()
	if err == nil {
		return nil
	}
	return mayfly.Errorf(mayfly.CodeOf(err), "%w", err).
		WithHint("look for call %s in the service's logs; it answered %s", id, statusText(r.Status))
}

// statusText formats a status with its name, if it has one.
func statusText(status int) string {
	return strings.TrimSpace(fmt.Sprint(status, " ", http.StatusText(status)))
}
