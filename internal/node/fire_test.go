//go:build fire && unix

package node_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// The tests of this file measure. None of them is parallel: Go runs them one
// after the other, before those that are.

const (
	manyClients = 2000

	// noise is what a machine with two cores, shared with whatever else runs on
	// it, adds to a tail: other packages' tests above all.
	noise = 30 * time.Millisecond

	// growth is what the gateway may need for manyClients.
	growth = 100 << 20
)

// A slow client must cost nobody else anything: not time, and not more memory than
// a connection needs. It is cut off when its limit is over.
func TestFireSlowClientsDisturbNobody(t *testing.T) {
	manyClients := manyClients
	if raceDetector {
		manyClients /= 10
	}
	allowOpenFiles(t, uint64(2*manyClients+1000))
	const limit = 2 * time.Second // of each kind; small, so that the test is quick
	o := options(t)
	o.Config.Gateway.HeaderTimeout, o.Config.Gateway.BodyTimeout = limit, limit
	o.Config.Gateway.WriteTimeout, o.Config.Gateway.IdleTimeout = limit, limit
	n := start(t, o)
	nc := connect(t, n.NATS)
	large := bytes.Repeat([]byte("x"), 64<<10)
	natstest.AddService(t, nc, "S", "1.0.0", natstest.Endpoint{Name: "echo"},
		natstest.Endpoint{Name: "large", Answer: func(r micro.Request) { _ = r.Respond(large) }})
	others := load{url: n.Gateway + "/svc/S/echo", rate: 300, client: newClient(t)}
	if status := ask(t, "POST", n.Gateway+"/svc/S/large", nil); status.StatusCode != 200 || len(status.body) != len(large) {
		t.Fatalf("the service does not answer: %v", status)
	}

	for _, tt := range []struct {
		name  string
		first string     // what a client sends at once
		drip  byte       // what it sends each second; 0 for nothing
		there func() int // counts those that have come as far as they come
	}{
		{"headers at a byte a second", "GET /svc/S/echo HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", 'a', runtime.NumGoroutine},
		{"bodies at a byte a second", "POST /svc/S/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", 'b', func() int { return metric(t, n, "mayfly_calls_in_flight") }},
		{"answers of 64 KiB that nobody reads", "GET /svc/S/large HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, func() int { return metric(t, n, `mayfly_calls_total{status="200"}`) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			measured(t, func() (faults []string) {
				before := others.run(t, time.Second, nil)
				memoryBefore, goroutines, there := memory(), runtime.NumGoroutine(), tt.there()
				slow := dialMany(t, n.Gateway, manyClients)
				opened := time.Now()
				for _, c := range slow {
					if _, err := io.WriteString(c, tt.first); err != nil {
						t.Fatal(err)
					}
				}
				stop := make(chan struct{})
				var dripping sync.WaitGroup
				dripping.Go(func() { drip(slow, tt.drip, stop) })
				// That 2,000 come at one blow is another matter.
				eventually(t, "all slow clients are where they are slow", func() bool { return tt.there() >= there+manyClients })
				during := others.run(t, limit-700*time.Millisecond, nil)
				grown := memory() - memoryBefore
				// The gateway has a goroutine for each connection: gone with it.
				eventually(t, "all slow clients are cut off", func() bool { return runtime.NumGoroutine() < goroutines+manyClients/10 })
				cut := time.Since(opened)
				close(stop)
				dripping.Wait()
				if cut > 2*limit+2*time.Second {
					faults = append(faults, fmt.Sprintf("slow clients are cut off after %v, the limits are %v", cut, limit))
				}
				for _, c := range slow {
					c.Close()
				}
				after := others.run(t, time.Second, nil)

				base := max(quantile(before, 0.99), quantile(after, 0.99))
				t.Logf("p99 of others %v before, %v during, %v after; %d MB more; all cut off after %v",
					quantile(before, 0.99), quantile(during, 0.99), quantile(after, 0.99), grown>>20, cut.Round(time.Millisecond))
				if got := quantile(during, 0.99); got > 2*base+noise {
					faults = append(faults, fmt.Sprintf("p99 of other calls is %v with slow clients, %v without", got, base))
				}
				if n := count(slices.Concat(before, during, after), failed); n > 0 {
					faults = append(faults, fmt.Sprintf("%d other calls failed: %v", n, tally(during)))
				}
				if grown > growth {
					faults = append(faults, fmt.Sprintf("%d clients cost %d MB", manyClients, grown>>20))
				}
				return faults
			})
		})
	}
}

// allowOpenFiles raises the limit of this process to n files, or fails: with fewer
// the test would measure something else.
func allowOpenFiles(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur >= n {
		return
	}
	if limit.Max < n {
		t.Fatalf("this test needs %d open files, the hard limit is %d (ulimit -Hn)", n, limit.Max)
	}
	limit.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("raise the limit of open files to %d: %v", n, err)
	}
}

func dialMany(t *testing.T, url string, n int) []net.Conn {
	t.Helper()
	all := make([]net.Conn, n)
	for i := range all {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { c.Close() })
		// What fills the sockets' buffers need not wait for the reader.
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		all[i] = c
	}
	return all
}

// drip sends a byte over each connection each second, one connection after the
// other, until stop is closed. One that was cut off is nobody's loss.
func drip(all []net.Conn, what byte, stop <-chan struct{}) {
	const parts = 100 // of a second
	tick := time.NewTicker(time.Second / parts)
	defer tick.Stop()
	for i := 0; ; i++ {
		for j := i % parts; j < len(all) && what != 0; j += parts {
			_, _ = all[j].Write([]byte{what})
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// The promise: with twice the calls that a service can answer it answers at least
// 80 % of what it can, the rest is refused within 50 ms, and 2 s later nothing is
// to be seen of it.
func TestFireOverloadedServiceStaysUseful(t *testing.T) {
	work := 2 * time.Millisecond // the promise's; client, server and service are all on this machine
	switch {
	case raceDetector:
		work = 40 * time.Millisecond
	case *fire < 20*time.Second:
		work = 10 * time.Millisecond // leaves room for the other packages' tests
	}
	n := start(t, options(t))
	for range 4 {
		nc := connect(t, n.NATS)
		natstest.AddService(t, nc, "Busy", "1.0.0", natstest.Endpoint{Name: "work", Answer: func(r micro.Request) {
			<-time.After(work) // one call at a time, as nats.go's micro does
			_ = r.Respond(r.Data())
		}})
	}
	url := n.Gateway + "/svc/Busy/work"
	client := newClient(t)
	eventually(t, "the service answers", func() bool {
		status, _ := call(client, url, nil)
		return status == http.StatusOK
	})
	measured(t, func() (faults []string) {
		l := load{url: url, client: client}
		const measure = 2 * time.Second
		closed := l.clients(40, measure, 0)
		if n := count(closed, failed); n > 0 {
			return []string{fmt.Sprintf("40 clients in a closed loop: %v", tally(closed))}
		}
		peak := float64(len(closed)) / measure.Seconds()

		memoryBefore := memory()
		l.rate = int(2 * peak)
		stop := make(chan struct{})
		most := atomic.Int64{}
		var watching sync.WaitGroup
		watching.Go(func() {
			tick := time.NewTicker(250 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					var m runtime.MemStats
					runtime.ReadMemStats(&m) // with its garbage: to collect it each time would be a load of its own
					most.Store(max(most.Load(), int64(m.HeapInuse+m.StackInuse)-memoryBefore))
				}
			}
		})
		outcomes := l.run(t, *fire, nil)
		close(stop)
		watching.Wait()
		refused := filter(outcomes, func(o outcome) bool {
			return o.status == http.StatusTooManyRequests || o.status == http.StatusServiceUnavailable
		})
		answered := len(outcomes) - count(outcomes, failed)
		inTime := count(outcomes, func(o outcome) bool { return !failed(o) && o.due+o.took <= *fire }) // not what queued up for later
		goodput := float64(inTime) / fire.Seconds()
		t.Logf("peak %.0f/s; at %d/s: %v, goodput %.0f %% of peak; refused p50 %v, p99 %v; answered p50 %v; %d MB more at most",
			peak, l.rate, tally(outcomes), 100*goodput/peak, quantile(refused, 0.5), quantile(refused, 0.99),
			quantile(filter(outcomes, func(o outcome) bool { return !failed(o) }), 0.5), most.Load()>>20)
		if goodput < 0.8*peak {
			faults = append(faults, fmt.Sprintf("answered %.0f/s of %.0f/s, want 80 %%", goodput, peak))
		}
		if lost := len(outcomes) - answered - len(refused); lost > 0 {
			faults = append(faults, fmt.Sprintf("%d calls were neither answered nor refused: %v", lost, tally(outcomes)))
		}
		// The tail is that of a machine on which clients, gateway, NATS and service share
		// two cores with other tests; a refusal that waits for anything has no such median.
		if p50, p95 := quantile(refused, 0.5), quantile(refused, 0.95); len(refused) == 0 || p50 > 50*time.Millisecond || p95 > 500*time.Millisecond {
			faults = append(faults, fmt.Sprintf("%d calls refused, p50 after %v, p95 after %v; want 50 ms", len(refused), p50, p95))
		}
		// Client and server of each call are in this process, and garbage is in the
		// figure.
		if most.Load() > 512<<20 {
			faults = append(faults, fmt.Sprintf("%d MB more under load", most.Load()>>20))
		}
		l.rate = int(peak / 2)
		again := l.run(t, 3*time.Second, nil)
		late := filter(again, func(o outcome) bool { return o.due > 2*time.Second })
		t.Logf("half the peak after it: %v; p99 after 2 s: %v", tally(again), quantile(late, 0.99))
		if n := count(late, failed); n > 0 || quantile(late, 0.5) > 100*time.Millisecond {
			faults = append(faults, fmt.Sprintf("2 s after the overload %d calls failed and the median is %v", n, quantile(late, 0.5)))
		}
		return faults
	})
}

// Whatever calls come to, nothing of them stays. The promise is for 100,000.
func TestFireCallsLeaveNothingBehind(t *testing.T) {
	o := options(t)
	o.Config.Bus.Monitor = natstest.FreeAddr(t)
	o.Routes = manifest(t, `project: leaks
routes:
  silent: {http: /silent, subject: leaks.silent, timeout: 20ms}
  slow: {http: /slow, subject: leaks.slow}
  nobody: {http: /nobody, subject: leaks.nobody}
`).Routes
	n := start(t, o)
	nc := connect(t, n.NATS)
	natstest.AddService(t, nc, "Leak", "1.0.0", natstest.Endpoint{Name: "echo"})
	natstest.Serve(t, nc, "leaks.silent", func(*nats.Msg) {})
	if _, err := nc.Subscribe("leaks.slow", func(*nats.Msg) {}); err != nil { // its clients leave before
		t.Fatal(err)
	}
	client := newClient(t)
	mix := func(calls int) {
		var all sync.WaitGroup
		var next atomic.Int64
		for range 64 {
			all.Go(func() {
				for {
					i := int(next.Add(1))
					if i > calls {
						return
					}
					switch i % 20 {
					case 0:
						_, _ = call(client, n.Gateway+"/silent", []byte("x"))
					case 1:
						vanish(client, n.Gateway+"/slow")
					case 2, 3:
						_, _ = call(client, n.Gateway+"/nobody", nil)
					case 4:
						_, _ = call(client, n.Gateway+"/svc/Nobody"+strconv.Itoa(i)+"/echo", nil)
					case 5:
						_, _ = call(client, n.Gateway+"/unknown/"+strconv.Itoa(i), nil)
					default:
						_, _ = call(client, n.Gateway+"/svc/Leak/echo", []byte("x"))
					}
				}
			})
		}
		all.Wait()
		client.CloseIdleConnections()
	}
	rest := func() leftovers {
		var l leftovers
		eventually(t, "no call waits and no connection of a client is open", func() bool {
			l = leftoversOf(t, n, o.Config.Bus.Monitor)
			return l.waiting == 0 && l.inFlight == 0
		})
		return l
	}
	mix(2000) // what is made once and kept, such as pools and tables
	before := rest()
	calls := int(fire.Seconds() * 5000)
	mix(calls)
	var after leftovers
	eventually(t, "goroutines and subscriptions are as before", func() bool {
		after = rest()
		return after.goroutines <= before.goroutines+10 && after.subscriptions <= before.subscriptions
	})
	t.Logf("%d calls; before %+v, after %+v", calls, before, after)
	if grown := after.memory - before.memory; grown > 16<<20 {
		t.Errorf("%d calls left %d MB", calls, grown>>20)
	}
}

// vanish makes a call and leaves before its answer.
func vanish(c *http.Client, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	if resp, err := c.Do(r); err == nil {
		resp.Body.Close()
	}
}

// leftovers are what calls could leave behind.
type leftovers struct {
	goroutines, waiting, inFlight, subscriptions int
	memory                                       int64
}

func leftoversOf(t *testing.T, n *running, monitor string) leftovers {
	t.Helper()
	l := leftovers{
		waiting: metric(t, n, "mayfly_replies_waiting"), inFlight: metric(t, n, "mayfly_calls_in_flight"),
		memory: memory(), goroutines: runtime.NumGoroutine(),
	}
	var varz struct{ Subscriptions int }
	if err := json.Unmarshal(ask(t, "GET", "http://"+monitor+"/varz", nil).body, &varz); err != nil {
		t.Fatal(err)
	}
	l.subscriptions = varz.Subscriptions
	return l
}

// metric returns the value of a metric without labels.
func metric(t *testing.T, n *running, name string) int {
	t.Helper()
	for line := range strings.Lines(string(ask(t, "GET", n.Admin+"/metrics", nil).body)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(v)
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// Services that answer anything but what they should: each is its own caller's
// problem, and nobody else's.
func TestFireHostileServicesDisturbNobody(t *testing.T) {
	awaitQuiet(t)
	o := options(t)
	o.Routes = manifest(t, `project: hostile
routes:
  many: {http: /many, subject: bad.many}
  late: {http: /late, subject: bad.late, timeout: 50ms}
  lines: {http: /lines, subject: bad.lines}
  other: {http: /other, subject: bad.other}
  status: {http: /status, subject: bad.status}
`).Routes
	n := start(t, o)
	nc := connect(t, n.NATS)
	natstest.AddService(t, nc, "Good", "1.0.0", natstest.Endpoint{Name: "echo"})
	good := load{url: n.Gateway + "/svc/Good/echo", rate: 200, client: newClient(t)}
	eventually(t, "the good service answers", func() bool {
		status, _ := call(good.client, good.url, nil)
		return status == http.StatusOK
	})
	stop := make(chan struct{})
	var outcomes []outcome
	var loading sync.WaitGroup
	loading.Go(func() { outcomes = good.run(t, patience, stop) })

	// Discovery: whoever is asked for INFO, these answer, too.
	bad := connect(t, n.NATS)
	asked := make(chan struct{}, 1024)
	garbage := hostileInfos()
	if _, err := bad.Subscribe("$SRV.INFO", func(m *nats.Msg) {
		for _, g := range garbage {
			_ = m.Respond([]byte(g))
		}
		asked <- struct{}{}
	}); err != nil {
		t.Fatal(err)
	}
	natstest.Serve(t, bad, "bad.many", func(m *nats.Msg) {
		for i := range 100 {
			_ = m.Respond([]byte(strconv.Itoa(i)))
		}
	})
	held := make(chan *nats.Msg, 1)
	natstest.Serve(t, bad, "bad.late", func(m *nats.Msg) { held <- m })
	natstest.Serve(t, bad, "bad.status", func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Mayfly-Status": {"abc"}}})
	})
	answerRaw(t, n.NATS, "bad.lines", "NATS/1.0\r\nX-A: 1\rSet-Cookie: evil=1\r\nX-B: 1\nX-C: 2\r\n: nameless\r\nX C: space\r\n\r\n")
	answerRaw(t, n.NATS, "bad.other", "NATS/9.9 garbage\r\n\r\n")

	for _, tt := range []struct {
		path   string
		status []int
	}{
		{"/many", []int{200}},
		{"/late", []int{504}},
		{"/lines", []int{200, 502, 504}},
		{"/other", []int{200, 502, 504}},
		{"/status", []int{502}},
	} {
		for range 5 {
			a := ask(t, "GET", n.Gateway+tt.path, nil)
			if !slices.Contains(tt.status, a.StatusCode) {
				t.Errorf("GET %s: %v, want %v", tt.path, a, tt.status)
			}
			if a.Header.Get("Set-Cookie") != "" {
				t.Errorf("GET %s: a header's value became a header: %v", tt.path, a)
			}
			if tt.path == "/many" && string(a.body) != "0" {
				t.Errorf("of 100 replies the caller got %v", a)
			}
			if tt.path == "/late" {
				_ = (<-held).Respond([]byte("too late"))
			}
		}
	}
	for range 2 {
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatal("nobody asks for INFO")
		}
	}
	eventually(t, "the garbage is counted", func() bool { return metric(t, n, "mayfly_discovery_rejected_total") > 0 })
	if late := metric(t, n, "mayfly_replies_late_total"); late < 5*99 {
		t.Errorf("%d late replies counted, want those of 100 for one call, and more", late)
	}
	close(stop)
	loading.Wait()
	t.Logf("others: %v, p99 %v", tally(outcomes), quantile(outcomes, 0.99))
	if n := count(outcomes, failed); n > 0 || len(outcomes) < 100 {
		t.Errorf("%d of %d calls to the good service failed: %v", n, len(outcomes), tally(outcomes))
	}

	var list struct {
		Services []struct {
			Name      string
			Endpoints []struct{ Name, Subject string }
		}
	}
	if err := json.Unmarshal(ask(t, "GET", n.Gateway+"/svc", nil).body, &list); err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for _, s := range list.Services {
		names[s.Name] = len(s.Endpoints)
	}
	if want := map[string]int{"Good": 1, "Huge": 1}; !maps.Equal(names, want) {
		t.Errorf("the picture has services and endpoints %v, want %v", names, want)
	}
	if a := ask(t, "GET", n.Gateway+"/openapi.json", nil); !json.Valid(a.body) {
		t.Errorf("/openapi.json is no JSON: %v", a)
	}
}

// hostileInfos are answers to $SRV.INFO as nobody should give them. Only the last
// is a service.
func hostileInfos() []string {
	const kind = `"type":"io.nats.micro.v1.info_response"`
	return []string{
		"", "null", "[]", "{", "\x00\xff\xfe", strings.Repeat("[", 100_000),
		`{` + kind + `}`,
		`{` + kind + `,"name":1,"id":2,"version":3}`,
		`{` + kind + `,"name":"a b","id":"x","version":"1.0.0"}`,
		`{` + kind + `,"name":"Bad.>","id":"x","version":"1.0.0","endpoints":[{"name":"e","subject":"x"}]}`,
		`{` + kind + `,"name":"Bad","id":"x","endpoints":"many"}`,
		`{` + kind + `,"name":"Bad","id":"y","endpoints":[{"name":7,"subject":[]}]}`,
		`{` + kind + `,"name":"Sys","id":"z","endpoints":[{"name":"e","subject":"$SYS.REQ.SERVER.PING"},{"name":"f","subject":"_INBOX.>"}]}`,
		`{` + kind + `,"name":"Huge","id":"h","version":"1.0.0","metadata":{"m":"` + strings.Repeat("m", 500_000) + `"},` +
			`"endpoints":[{"name":"e","subject":"huge","metadata":{"mayfly.http":"GET /huge\nNONSENSE\nGET /{","mayfly.timeout":"soon","n":7}}]}`,
	}
}

// answerRaw answers on a subject with header bytes that no client library would
// send.
func answerRaw(t *testing.T, url, subject, header string) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		lines := bufio.NewReader(c)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			fields := strings.Fields(line)
			switch {
			case len(fields) == 0:
			case fields[0] == "PING":
				_, _ = io.WriteString(c, "PONG\r\n")
			case fields[0] == "PONG":
				close(ready)
			case (fields[0] == "HMSG" || fields[0] == "MSG") && len(fields) > 4:
				size, _ := strconv.Atoi(fields[len(fields)-1])
				_, _ = lines.Discard(size + 2)
				_, _ = fmt.Fprintf(c, "HPUB %s %d %d\r\n%s%s\r\n", fields[3], len(header), len(header)+2, header, "hi")
			}
		}
	})
	t.Cleanup(func() {
		c.Close()
		serving.Wait()
	})
	_, err = fmt.Fprintf(c, "CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\nSUB %s 1\r\nPING\r\n", subject)
	if err != nil {
		t.Fatal(err)
	}
	<-ready
}

// clients lets that many clients make one call after the other for d. Each rests after
// it was refused.
func (l load) clients(n int, d, rest time.Duration) []outcome {
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		outcomes []outcome
	)
	began := time.Now()
	for range n {
		all.Go(func() {
			var mine []outcome
			for time.Since(began) < d {
				o := outcome{due: time.Since(began)}
				o.status, o.err = call(l.client, l.url, []byte("x"))
				o.took = time.Since(began) - o.due
				mine = append(mine, o)
				if failed(o) && rest > 0 {
					<-time.After(rest)
				}
			}
			mu.Lock()
			outcomes = append(outcomes, mine...)
			mu.Unlock()
		})
	}
	all.Wait()
	return outcomes
}

// memory returns the bytes of heap and stacks in use, without garbage.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
