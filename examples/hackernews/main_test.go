package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"
)

// asService makes the test binary be the service itself, so that the tests can
// kill a real process.
const asService = "HACKERNEWS_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	switch os.Getenv(asService) {
	case "main":
		main()
	case "hurried": // main has time, tests have not
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		err := run(context.Background(), options{natsURL: os.Getenv("NATS_URL"), baseURL: os.Getenv("HN_BASE_URL"), pace: hurriedPace(), log: log})
		log.Error("run", "err", err)
		os.Exit(1)
	default:
		// nats.go 1.55 forgets this one if ObjectStore.Put ends before it began.
		goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
	}
}

func hurriedPace() pace {
	return pace{try: 5 * time.Second, again: 5 * time.Millisecond, retry: 10 * time.Millisecond, ack: 3 * time.Second, idle: 50 * time.Millisecond}
}

// A world is a NATS server, a HackerNews, and a client that looks on.
type world struct {
	*upstream
	t      *testing.T
	server *server.Server
	folder string
	nc     *nats.Conn
	back   chan struct{} // gets one when nc has found the server again
	log    *journal      // of the instance that was started last
}

func newWorld(t *testing.T, stories int) *world {
	t.Helper()
	w := &world{t: t, upstream: newUpstream(t, stories), folder: t.TempDir(), back: make(chan struct{}, 1)}
	w.startServer(server.RANDOM_PORT)
	closed := make(chan struct{})
	var err error
	w.nc, err = nats.Connect(w.server.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ReconnectHandler(func(*nats.Conn) { w.back <- struct{}{} }),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.nc.Close(); <-closed })
	t.Cleanup(func() { // what is not stopped by now hangs at a gate
		w.upstream.mu.Lock()
		defer w.upstream.mu.Unlock()
		w.fail = nil
	})
	return w
}

func (w *world) startServer(port int) {
	w.t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: w.folder,
		JetStreamMaxStore: 256 << 20, JetStreamMaxMemory: 16 << 20,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Start()
	w.t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		w.t.Fatal("the NATS server is not ready")
	}
	w.server = s
}

// start runs an instance in this process and returns when it serves. It is stopped
// by the function, or at the end.
func (w *world) start(change ...func(*options)) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := newJournal(w.t)
	w.log = log
	o := options{natsURL: w.server.ClientURL(), baseURL: w.URL + "/v0", pace: hurriedPace(), log: slog.New(slog.NewTextHandler(log, nil))}
	for _, c := range change {
		c(&o)
	}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("run = %v", err)
		}
	})
	w.t.Cleanup(stop)
	log.wait("serving")
	return stop
}

// process runs an instance in a process of its own.
func (w *world) process(as string) (*exec.Cmd, *journal) {
	w.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	log := newJournal(w.t)
	cmd := exec.CommandContext(w.t.Context(), binary)
	cmd.Env = []string{asService + "=" + as, "NATS_URL=" + w.server.ClientURL(), "HN_BASE_URL=" + w.URL + "/v0"}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	log.wait("serving")
	return cmd, log
}

func (w *world) request(subject, payload string) *nats.Msg {
	w.t.Helper()
	m, err := w.nc.Request(subject, []byte(payload), 30*time.Second)
	if err != nil {
		w.t.Fatalf("%s: %v", subject, err)
	}
	return m
}

// ask requests and decodes an answer that is no error.
func (w *world) ask(subject, payload string, v any) {
	w.t.Helper()
	m := w.request(subject, payload)
	if text := m.Header.Get(micro.ErrorHeader); text != "" {
		w.t.Fatalf("%s answers the error %s", subject, text)
	}
	if err := json.Unmarshal(m.Data, v); err != nil {
		w.t.Fatalf("%s answers %q: %v", subject, m.Data, err)
	}
}

// wantError requests and checks the number of the error.
func (w *world) wantError(subject, payload, code string) {
	w.t.Helper()
	m := w.request(subject, payload)
	if got := m.Header.Get(micro.ErrorCodeHeader); got != code {
		w.t.Errorf("%s %.20q answers %q %q, want error %s", subject, payload, got, m.Header.Get(micro.ErrorHeader), code)
	}
}

// waitReport returns the first report that is as wanted.
func (w *world) waitReport(want func(report) bool) report {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 60*time.Second)
	defer cancel()
	js, err := jetstream.New(w.nc)
	if err != nil {
		w.t.Fatal(err)
	}
	reports, err := js.ObjectStore(ctx, reportsBucket)
	if err != nil {
		w.t.Fatal(err)
	}
	watch, err := reports.Watch(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	defer watch.Stop()
	var last []byte
	for {
		select {
		case info := <-watch.Updates():
			if info == nil || info.Name != latestReport {
				continue
			}
			// One that is replaced while it is read never ends: it is read again.
			for {
				short, stop := context.WithTimeout(ctx, time.Second)
				last, err = reports.GetBytes(short, latestReport)
				stop()
				if err == nil || ctx.Err() != nil {
					break
				}
			}
			var r report
			if err == nil && json.Unmarshal(last, &r) == nil && want(r) {
				return r
			}
		case <-ctx.Done():
			w.t.Fatalf("no such report; the last was %.300s (%v) after %d requests", last, err, w.requests())
		}
	}
}

// complete is a report with n stories and nothing more to come.
func complete(n int) func(report) bool {
	return func(r report) bool { return r.Count == n && r.Complete }
}

// journal is a log that a test can wait for.
type journal struct {
	t    *testing.T
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed, and replaced, when a line comes
}

func newJournal(t *testing.T) *journal { return &journal{t: t, more: make(chan struct{})} }

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(p)
	close(j.more)
	j.more = make(chan struct{})
	return len(p), nil
}

// wait returns once the log has the message.
func (j *journal) wait(msg string) {
	j.t.Helper()
	if strings.Contains(msg, " ") {
		msg = `"` + msg + `"`
	}
	late := time.After(30 * time.Second)
	for {
		j.mu.Lock()
		text, more := j.text.String(), j.more
		j.mu.Unlock()
		if strings.Contains(text, " msg="+msg+" ") || strings.Contains(text, " msg="+msg+"\n") {
			return
		}
		select {
		case <-more:
		case <-late:
			j.t.Fatalf("the log has no %s:\n%s", msg, text)
		}
	}
}

func TestServiceFetchesSortsAndServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40)
	w.items[1003] = `{"id":1003,"type":"job","title":"Work here","time":1}`
	w.items[1040] = strings.Replace(w.items[1040], `"url":"https://example.com/1040",`, "", 1)
	w.start()

	var f fetched
	w.ask("hn.fetch.ids", "", &f)
	if f != (fetched{IDs: 40, Queued: 40}) {
		t.Errorf("fetch = %+v", f)
	}
	w.waitReport(complete(39))

	var ids []int64
	if w.ask("hn.fetch.list", "", &ids); len(ids) != 40 || ids[0] != 1001 {
		t.Errorf("list = %v", ids)
	}
	var top ranking
	if w.ask("hn.sort.top", "3", &top); top.Count != 3 || len(top.Posts) != 3 || top.Posts[0].ID != 1040 || top.Posts[0].URL != "" || top.Posts[2].ID != 1038 {
		t.Errorf("top = %+v", top)
	}
	if w.ask("hn.sort.top", `{"n":1000}`, &top); top.Count != 39 || len(top.Posts) != 39 {
		t.Errorf("top has %d posts, %d counted", len(top.Posts), top.Count)
	}
	var plain struct{ Posts []struct{ Time time.Time } }
	if w.ask("hn.sort.top", "1", &plain); time.Since(plain.Posts[0].Time).Abs() > window {
		t.Errorf("top posted at %v", plain.Posts[0].Time)
	}
	first, second := w.request("hn.sort.top", "3").Header.Get("ETag"), w.request("hn.sort.top", "3").Header.Get("ETag")
	if first == "" || first != second || first == w.request("hn.sort.top", "4").Header.Get("ETag") {
		t.Errorf("ETag %s, then %s", first, second)
	}
	page := w.request("hn.page", "")
	if !strings.Contains(string(page.Data), "Story 1040") || page.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("page = %v %s", page.Header, page.Data)
	}

	// A story that changes changes the next report, and readers see it.
	w.upstream.mu.Lock()
	w.items[1002] = strings.Replace(w.items[1002], `"score":2`, `"score":500`, 1)
	w.items[1040] = `{"id":1040,"deleted":true,"type":"story","time":1}`
	w.upstream.mu.Unlock()
	var q queued
	if w.ask("hn.process.id", `{"id":1002}`, &q); q != (queued{ID: 1002, Queued: true}) {
		t.Errorf("process = %+v", q)
	}
	w.wantError("hn.process.reply", "1040", "422")
	w.waitReport(func(r report) bool { return complete(38)(r) && r.Posts[0].ID == 1002 })
	if w.ask("hn.sort.top", "1", &top); top.Posts[0].ID != 1002 {
		t.Errorf("top = %+v", top)
	}
	if got := w.processed(); got.Kept != 40 || got.Refused != 1 || got.Dead != 0 {
		t.Errorf("statistics = %+v", got)
	}
}

// processed returns the statistics of the one instance.
func (w *world) processed() (p processed) {
	w.t.Helper()
	var stats micro.Stats
	w.ask("$SRV.STATS.HackerNews", "", &stats)
	for _, e := range stats.Endpoints {
		if e.Name == "process" {
			if err := json.Unmarshal(e.Data, &p); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return p
}

func TestServiceHasTheArticlesEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.start()
	var info micro.Info
	w.ask("$SRV.INFO.HackerNews", "", &info)
	var got []string
	for _, e := range info.Endpoints {
		got = append(got, e.Name+" "+e.Subject+" "+e.QueueGroup)
		if e.Metadata["mayfly.http"] == "" || e.Metadata["mayfly.summary"] == "" {
			t.Errorf("%s has the metadata %v", e.Name, e.Metadata)
		}
		for _, key := range []string{"mayfly.request", "mayfly.response"} {
			if schema := e.Metadata[key]; schema != "" && !json.Valid([]byte(schema)) {
				t.Errorf("%s has the schema %s", e.Name, schema)
			}
		}
	}
	want := []string{
		"fetch hn.fetch.ids fetch-group", "list hn.fetch.list fetch-group", "process hn.process.id process-group",
		"process-reply hn.process.reply process-group", "sort hn.sort.ids sort-group", "top hn.sort.top sort-group", "page hn.page page-group",
	}
	if info.Name != "HackerNews" || !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", info.Name, got, want)
	}
}

func TestServiceSaysWhatIsNotThereYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.start()
	w.wantError("hn.fetch.list", "", "404")
	w.wantError("hn.sort.top", "3", "404")
	if page := w.request("hn.page", ""); !strings.Contains(string(page.Data), "Nothing was fetched yet") {
		t.Errorf("page = %s", page.Data)
	}
	var r report
	if w.ask("hn.sort.ids", "", &r); r.Count != 0 || !r.Complete || r.Posts == nil || r.Window != "24h" {
		t.Errorf("sort = %+v", r)
	}
	var top ranking
	if w.ask("hn.sort.top", "3", &top); top.Count != 0 || top.Posts == nil || len(top.Posts) != 0 {
		t.Errorf("top = %+v, want no posts, [] for them", top)
	}
}

func TestServiceRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.items[5] = `{"id":5,"type":"comment","text":"first","time":1}`
	w.items[6] = `{"id":6,"type":"story","title":7,"time":1}`
	w.start()
	for _, tt := range []struct{ subject, payload, code string }{
		{"hn.process.id", "", "400"},
		{"hn.process.id", "abc", "400"},
		{"hn.process.id", "0", "400"},
		{"hn.process.reply", "1.5", "400"},
		{"hn.process.reply", "4", "404"},
		{"hn.process.reply", "5", "422"},
		{"hn.process.reply", "6", "502"},
		{"hn.sort.top", "0", "400"},
		{"hn.sort.top", `{"n":-3}`, "400"},
	} {
		w.wantError(tt.subject, tt.payload, tt.code)
	}
}

func TestServiceTellsFaultsOfHackerNews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.start(func(o *options) { o.pace.try = 100 * time.Millisecond })
	for _, tt := range []struct {
		name string
		fail http.HandlerFunc
		code string
	}{
		{"errors", status(500), "502"},
		{"too many requests", status(429), "502"},
		{"silence", silence, "504"},
	} {
		w.upstream.mu.Lock()
		w.fail = func(int64, int) http.HandlerFunc { return tt.fail }
		w.upstream.mu.Unlock()
		w.wantError("hn.fetch.ids", "", tt.code)
		w.wantError("hn.process.reply", "1001", tt.code)
	}
	w.upstream.mu.Lock()
	w.fail, w.top = nil, "[]"
	w.upstream.mu.Unlock()
	w.wantError("hn.fetch.ids", "", "502")
	w.wantError("hn.fetch.list", "", "404")
}

func TestAPublishIsNoError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.start()
	for _, m := range []struct{ subject, payload string }{
		{"hn.process.id", "1001"}, {"hn.process.reply", "1002"}, {"hn.fetch.ids", ""},
	} {
		if err := w.nc.Publish(m.subject, []byte(m.payload)); err != nil {
			t.Fatal(err)
		}
	}
	w.waitReport(complete(2))
	// The last one is in hand until its numbers are counted: ask behind it.
	w.request("hn.fetch.ids", "")
	w.wantError("hn.process.id", "x", "400")
	w.wantError("hn.process.reply", "x", "400")
	// A request is counted after its reply: ask until both are.
	var stats micro.Stats
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		w.ask("$SRV.STATS.HackerNews", "", &stats)
		errors := 0
		for _, e := range stats.Endpoints {
			errors += e.NumErrors
		}
		if errors >= 2 {
			break
		}
	}
	for _, e := range stats.Endpoints {
		want := map[string]int{"process": 1, "process-reply": 1}[e.Name] // the x
		if e.NumErrors != want {
			t.Errorf("%s has %d errors, the last %q", e.Name, e.NumErrors, e.LastError)
		}
	}
}

func TestProcessRefusesWhatIsQueuedAlready(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	g := newGate(0)
	w.fail = g.fail
	w.start()
	var q queued
	w.ask("hn.process.id", "1001", &q)
	w.wantError("hn.process.id", "1001", "409")
	g.waitHeld(t, 1)
	w.wantError("hn.process.id", "1001", "409")
	close(g.open)
	w.waitReport(complete(1))
	w.ask("hn.process.id", "1001", &q) // who asks again gets it again
}

func TestOneSortsAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.start()
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	posts, err := js.KeyValue(t.Context(), postsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := posts.Create(t.Context(), turnKey, nil, jetstream.KeyTTL(30*time.Second)); err != nil {
		t.Fatal(err)
	}
	w.wantError("hn.sort.ids", "", "409")
	if err := posts.Purge(t.Context(), turnKey); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the turn comes back
		var r report
		w.ask("hn.sort.ids", "", &r)
	}
}

func TestTwoFetchesAtOnceQueueEachItemOnce(t *testing.T) {
	t.Parallel()
	const stories = 200
	w := newWorld(t, stories)
	w.start()
	w.start()
	answers := make(chan *nats.Msg, 2)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { answers <- w.request("hn.fetch.ids", "") })
	}
	both.Wait()
	total := 0
	for range 2 {
		var f fetched
		if err := json.Unmarshal((<-answers).Data, &f); err != nil || f.IDs != stories || f.Queued+f.Duplicates != stories {
			t.Errorf("fetch = %+v, %v", f, err)
		}
		total += f.Queued
	}
	if total != stories {
		t.Errorf("%d were queued", total)
	}
	w.waitReport(complete(stories))
	if n := w.requests(); n != stories {
		t.Errorf("%d requests for %d stories", n, stories)
	}
	if w.most > 2*atOnce {
		t.Errorf("%d requests at once", w.most)
	}
}

func TestErrorsOfHackerNewsLoseNoStory(t *testing.T) {
	t.Parallel()
	const stories = 100
	w := newWorld(t, stories)
	var total atomic.Int64
	w.fail = func(id int64, n int) http.HandlerFunc {
		switch {
		case id == 1050 && n <= 2*httpTries: // down for longer than the client has patience
			return status(503)
		case id != 0 && total.Add(1)%5 == 0: // and 20 % of all
			return status(500)
		}
		return nil
	}
	w.start()
	w.request("hn.fetch.ids", "")
	w.waitReport(complete(stories))
	if got := w.processed(); got.Retried < 2 || got.Dead != 0 || got.LastError == "" {
		t.Errorf("statistics = %+v", got)
	}
}

func TestAnItemThatNeverAnswersHoldsUpNobody(t *testing.T) {
	t.Parallel()
	const stories = 50
	w := newWorld(t, stories)
	w.fail = func(id int64, _ int) http.HandlerFunc {
		if id == 1001 {
			return silence
		}
		return nil
	}
	w.start(func(o *options) { o.pace.try = 150 * time.Millisecond })
	w.request("hn.fetch.ids", "")
	w.waitReport(func(r report) bool { return r.Count == stories-1 && r.Pending == 1 && !r.Complete })
	w.waitReport(complete(stories - 1))

	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := js.Stream(t.Context(), deadStream)
	if err != nil {
		t.Fatal(err)
	}
	m, err := dead.GetLastMsgForSubject(t.Context(), deadSubject+"1001")
	if err != nil {
		t.Fatal(err)
	}
	var l deadLetter
	if err := json.Unmarshal(m.Data, &l); err != nil || l.ID != 1001 || l.Tries != maxTries || !strings.Contains(l.Reason, "did not respond") {
		t.Errorf("dead letter = %s", m.Data)
	}
}

func TestKilledServiceLosesNoStory(t *testing.T) {
	t.Parallel()
	const stories = 40
	w := newWorld(t, stories)
	g := newGate(stories / 2)
	w.fail = g.fail
	cmd, _ := w.process("hurried")
	w.request("hn.fetch.ids", "")
	g.waitHeld(t, atOnce)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	close(g.open)

	w.process("hurried")
	w.waitReport(complete(stories))
	if n := w.requests(); n > stories+atOnce {
		t.Errorf("%d requests for %d stories", n, stories)
	}
}

func TestRestartOfNATSLosesNoStory(t *testing.T) {
	t.Parallel()
	const stories = 40
	w := newWorld(t, stories)
	g := newGate(stories / 2)
	w.fail = g.fail
	w.start()
	w.request("hn.fetch.ids", "")
	g.waitHeld(t, atOnce)
	port := w.server.Addr().(*net.TCPAddr).Port
	w.server.Shutdown()
	w.server.WaitForShutdown()
	close(g.open) // the items come while there is no place for them

	w.startServer(port)
	<-w.back // a request that is lost with a connection is lost for good
	w.waitReport(complete(stories))
}

func TestServiceMakesAgainWhatNATSLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	w.start()
	port := w.server.Addr().(*net.TCPAddr).Port
	w.server.Shutdown()
	w.server.WaitForShutdown()
	w.folder = t.TempDir()
	w.startServer(port)
	w.log.wait("state created again")

	<-w.back
	w.request("hn.fetch.ids", "")
	w.waitReport(complete(5))
}

func TestSIGTERMFinishesTheWorkInHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 20)
	g := newGate(0)
	w.fail = g.fail
	cmd, log := w.process("main")
	w.request("hn.fetch.ids", "")
	g.waitHeld(t, atOnce)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.request("hn.fetch.list", "") // it still answers
	close(g.open)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the service ended with %v:\n%s", err, log.text.String())
	}
	var r report
	w.start()
	if w.ask("hn.sort.ids", "", &r); r.Count < atOnce {
		t.Errorf("%d posts were kept, want what was in hand: %d", r.Count, atOnce)
	}
}

func TestServiceMayStartBeforeNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	port := w.server.Addr().(*net.TCPAddr).Port
	url := w.server.ClientURL()
	w.server.Shutdown()
	w.server.WaitForShutdown()

	log := newJournal(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, options{natsURL: url, baseURL: w.URL, pace: hurriedPace(), log: slog.New(slog.NewTextHandler(log, nil))})
	}()
	log.wait("waiting for nats")
	w.startServer(port)
	<-w.back
	log.wait("serving")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
}

func TestServiceThatFindsNoNATSMayBeStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	url := w.server.ClientURL()
	w.server.Shutdown()
	w.server.WaitForShutdown()
	log := newJournal(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, options{natsURL: url, baseURL: w.URL, pace: hurriedPace(), log: slog.New(slog.NewTextHandler(log, nil))})
	}()
	log.wait("waiting for nats")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run = %v", err)
	}
}

func TestServiceEndsWhenNATSRefusesIt(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Username: "hn", Password: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	err = run(t.Context(), options{natsURL: "nats://hn:wrong@" + s.Addr().String(), baseURL: "http://127.0.0.1:1", pace: hurriedPace(), log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "Authorization Violation") {
		t.Errorf("run = %v", err)
	}
}
