package shim_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/frame"
)

// linked is a function whose calls show what one connection does to them.
const linked = `
	let open, kept, heard;
	const gate = new Promise((resolve) => (open = resolve));
	const told = new Promise((resolve) => (heard = resolve));
	const cases = {
		echo: (request) => request.text(),
		echoes: () => "echoed",
		later: async (request) => { await new Promise(setImmediate); return request.text(); },
		waits: async (request) => { await gate; return request.text(); },
		slow: async (request) => { await new Promise((resolve) => setTimeout(resolve, Math.random() * 20)); return "slow " + (await request.text()); },
		open: () => { open(); return "open"; },
		mirror: (request) => new Response(request.body),
		keep: (request, context) => { kept = gate.then(() => request.text()); return "kept"; },
		kept: () => kept,
		exits: () => process.exit(3),
		huge: () => "\u2713".repeat(3_500_000),
		head: () => new Response("x", { headers: { "x-long": "h".repeat(70_000) } }),
		both: () => new Response("x".repeat(70_000), { headers: { "x-long": "h".repeat(70_000) } }),
		drops: async (request) => { const reader = request.body.getReader(); const { value } = await reader.read(); return String(value.length > 0); },
		waitsForRest: async (request) => { request.text().catch((error) => heard(error.name)); return "early"; },
		told: () => told,
	};
	export default (request) => cases[new URL(request.url).pathname.slice(1)](request);
`

func startLinked(t *testing.T) nodeFunction {
	t.Helper()
	return startJavaScript(t, writeFiles(t, "linked.mjs", strings.TrimSpace(linked)))
}

func TestJavaScriptMixesCallsOnOneConnection(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	var waiting, calls sync.WaitGroup
	for i := range 5 {
		waiting.Go(func() {
			body := fmt.Sprintf("waiting %d", i)
			if _, got := n.do(t, "POST", "/waits", body); got != body {
				t.Errorf("a call that waited got %q, want %q", got, body)
			}
		})
	}
	for i := range 300 {
		calls.Go(func() {
			path, body := []string{"/echo", "/later", "/slow", "/mirror"}[i%4], strings.Repeat(fmt.Sprintf("%d ", i), 1+i*i%3000)
			want := body
			if path == "/slow" {
				want = "slow " + body
			}
			if _, got := n.do(t, "POST", path, body); got != want {
				t.Errorf("%s got %.40q (%d bytes), want %.40q (%d)", path, got, len(got), want, len(want))
			}
		})
	}
	calls.Wait() // while others wait
	n.do(t, "GET", "/open", "")
	waiting.Wait()
}

func TestJavaScriptKeepsABodyForLater(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	n.do(t, "POST", "/keep", "this is read long after the reply")
	for range 10 {
		n.do(t, "POST", "/echo", strings.Repeat("another call's body ", 10))
	}
	n.do(t, "GET", "/open", "")
	if _, got := n.do(t, "GET", "/kept", ""); got != "this is read long after the reply" {
		t.Errorf("it was read as %q", got)
	}
}

func TestJavaScriptSlowReaderHoldsUpNobody(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 10<<20/16)
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://functions.test/mirror", io.NopCloser(bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(body))
	res, err := n.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 50 { // nothing of the large reply is read
		if _, got := n.do(t, "POST", "/echo", "quick"); got != "quick" {
			t.Fatalf("beside a slow reader: %q", got)
		}
	}
	if got, err := io.ReadAll(res.Body); !bytes.Equal(got, body) || err != nil {
		t.Errorf("%d bytes came back, want %d; %v", len(got), len(body), err)
	}
	if _, got := n.do(t, "GET", "/huge", ""); got != strings.Repeat("\u2713", 3_500_000) {
		t.Errorf("a text of 10 MB has %d bytes", len(got))
	}
}

func TestJavaScriptLeavesTheRestOfABody(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	large := strings.Repeat("x", 3_000_000)
	if _, got := n.do(t, "POST", "/drops", large); got != "true" {
		t.Errorf("a handler that stops to read: %q", got)
	}
	if _, got := n.do(t, "POST", "/waitsForRest", large); got != "early" {
		t.Errorf("a reply before the request's end: %q", got)
	}
	if _, got := n.do(t, "GET", "/told", ""); got != "AbortError" {
		t.Errorf("reading on after the reply: %q", got)
	}
}

func TestJavaScriptHeadMustFitIntoAFrame(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	for _, path := range []string{"/head", "/both"} {
		if res, trace := n.do(t, "GET", path, ""); res.StatusCode != 502 || !strings.Contains(trace, "the reply's headers are longer than 64 KiB") {
			t.Errorf("%s: %d %.200s", path, res.StatusCode, trace)
		}
	}
}

func TestJavaScriptWritesRepliesBeforeItExits(t *testing.T) {
	t.Parallel()
	requireNode(t)
	folder, r := buildJavaScript(t, writeFiles(t, "linked.mjs", strings.TrimSpace(linked)))
	path := filepath.Join(t.TempDir(), "l")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	i := launch(t, r, folder, mayfly.EnvLink+"="+path)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	both := []byte(frame.Preface)
	both = frame.Append(both, frame.Frame{Call: 1, Kind: frame.Head, End: true, Head: []byte("POST /echoes\n"), Body: []byte("first")})
	both = frame.Append(both, frame.Frame{Call: 2, Kind: frame.Head, End: true, Head: []byte("GET /exits\n")})
	if _, err := conn.Write(both); err != nil { // one read event
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); !bytes.HasSuffix(got, []byte("echoed")) {
		t.Errorf("it wrote %q, %v", got, err)
	}
	if <-i.ended; i.process.ProcessState.ExitCode() != 3 {
		t.Errorf("it ended: %v", i.err)
	}
}

func TestJavaScriptEndsWithItsNode(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	n.link.Close()
	if <-n.ended; n.process.ProcessState.ExitCode() != 1 || n.stderr.String() != "" {
		t.Errorf("it ended: %v, %s", n.err, n.stderr)
	}
}

func TestJavaScriptEndsOnWhatIsNoFrame(t *testing.T) {
	t.Parallel()
	head := func(f frame.Frame) []byte { return frame.Append(nil, f) }
	many := make([]byte, 0, 4*frame.MaxBody)
	many = frame.Append(many, frame.Frame{Call: 1, Kind: frame.Head, Head: []byte("POST /waits\n"), Body: make([]byte, frame.MaxBody)})
	for range 2 {
		many = frame.Append(many, frame.Frame{Call: 1, Kind: frame.Data, Body: make([]byte, frame.MaxBody)})
	}
	twice := append(head(frame.Frame{Call: 1, Kind: frame.Head, End: true, Head: []byte("POST /waits\n")}), head(frame.Frame{Call: 1, Kind: frame.Head, End: true, Head: []byte("POST /waits\n")})...)
	for _, tt := range []struct {
		name string
		send []byte
		want string
	}{
		{"no call", []byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0}, "a frame without a call"},
		{"kind 0", []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0}, "a frame of the unknown kind 0"},
		{"a later kind", []byte{0, 0, 0, 0, 0, 0, 0, 1, 6, 1, 0, 0}, "a frame of the unknown kind 6"},
		{"an unknown flag", []byte{0, 0, 0, 0, 0, 0, 0, 1, 1, 3, 0, 0}, "a frame with the unknown flags 3"},
		{"4 GiB", []byte{255, 255, 255, 255, 0, 0, 0, 1, 2, 0, 0, 0}, "a frame of 4294967295 bytes, 0 of them head"},
		{"too much body", []byte{0, 1, 0, 1, 0, 0, 0, 1, 2, 0, 0, 0}, "a frame of 65537 bytes, 0 of them head"},
		{"a head beyond it", []byte{0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 2}, "a frame of 1 bytes, 2 of them head"},
		{"data with a head", []byte{0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0, 1}, "a frame of kind 2 with a head"},
		{"a credit of 5 bytes", []byte{0, 0, 0, 5, 0, 0, 0, 1, 4, 0, 0, 0}, "a frame of kind 4 with 5 bytes"},
		{"a cancel with a body", []byte{0, 0, 0, 1, 0, 0, 0, 1, 5, 0, 0, 0}, "a frame of kind 5 with 1 bytes"},
		{"more than was granted", many, "more of a body than was granted"},
		{"a number twice", twice, "call 1 twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := startLinked(t)
			n.link.Send(tt.send)
			<-n.ended
			if got, want := n.stderr.String(), "the node sent "+tt.want+"\n"; got != want || n.process.ProcessState.ExitCode() != 1 {
				t.Errorf("it ended: %v\n%swant %s", n.err, got, want)
			}
		})
	}
}

// Frames of calls that are over, or never were, may cross with replies.
func TestJavaScriptDropsWhatBelongsToNoCall(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	n.do(t, "POST", "/echo", "over")
	for _, f := range []frame.Frame{
		{Call: 1, Kind: frame.Data, End: true, Body: []byte("late")},
		{Call: 1, Kind: frame.Cancel},
		{Call: 1, Kind: frame.Error, Head: []byte("late")},
		{Call: 4_000_000_000, Kind: frame.Data, Body: []byte("never")},
		{Call: 4_000_000_000, Kind: frame.Cancel},
	} {
		n.link.Send(frame.Append(nil, f))
	}
	n.link.Send(frame.AppendCredit(nil, 77, 1<<31))
	if _, got := n.do(t, "POST", "/echo", "alive"); got != "alive" {
		t.Errorf("afterwards it says %q", got)
	}
}

func TestJavaScriptReadsFramesHoweverTheyAreCut(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	body := strings.Repeat("z", 60_000)
	all := frame.Append(nil, frame.Frame{Call: 1, Kind: frame.Head, End: true, Head: []byte("POST /keep\nHost:functions.test\n"), Body: []byte(body)})
	n.do(t, "GET", "/echoes", "") // call 1, for the test's node
	for from := 0; from < len(all); from += 7001 {
		n.link.Send(all[from:min(len(all), from+7001)])
	}
	n.do(t, "GET", "/open", "")
	if _, got := n.do(t, "GET", "/kept", ""); got != body {
		t.Errorf("%d bytes, want %d", len(got), len(body))
	}
}

func TestJavaScriptNeedsANodeThatKnowsFrames(t *testing.T) {
	t.Parallel()
	requireNode(t)
	folder, r := buildJavaScript(t, writeFiles(t, "a.mjs", `export default () => "hello"`))
	command := exec.CommandContext(t.Context(), r.Start[0], r.Start[1:]...)
	command.Dir = folder
	command.Env = append(os.Environ(), mayfly.EnvLink+"=", mayfly.EnvSocket+"="+filepath.Join(folder, "s"))
	said, err := command.CombinedOutput()
	if command.ProcessState.ExitCode() != 1 || string(said) != "this function was built for a newer Mayfly: MAYFLY_LINK is not set\n" {
		t.Errorf("%v: %s", err, said)
	}
}

// Loading node:http would make every function start later.
func TestJavaScriptLoadsNoHTTP(t *testing.T) {
	t.Parallel()
	n := startJavaScript(t, writeFiles(t, "a.mjs", `
		export default async (request) => {
			await request.text();
			return process.moduleLoadList.filter((name) => /http|undici/.test(name)).join(" ");
		}`))
	if _, got := n.do(t, "PUT", "/", "body"); got != "" {
		t.Errorf("a call loads %s", got)
	}
}

func TestJavaScriptClientThatLeavesHasItsCallForgotten(t *testing.T) {
	t.Parallel()
	n := startLinked(t)
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", "http://functions.test/waits", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		if res, err := n.client.Do(req); err == nil {
			res.Body.Close()
			t.Error("a canceled call was answered")
		}
	})
	n.do(t, "POST", "/echo", "the call before has come")
	leave()
	asking.Wait()
	n.do(t, "POST", "/echo", "and so has its end")
	n.stop(t) // waits for no call that nobody waits for
}
