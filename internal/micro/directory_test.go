package micro_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go"
	natsmicro "github.com/nats-io/nats.go/micro"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soonIn is longer than anything takes but in a test that fails.
const soonIn = 20 * time.Second

// eventually waits until ok says so: what it asks is remembered by the other side of
// a socket, which tells nobody.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(soonIn); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("gave up waiting for: %s", what)
}

// openDirectory opens a directory for the length of the test.
func openDirectory(t testing.TB, b *bus.Bus) *micro.Directory {
	t.Helper()
	d := micro.OpenDirectory(b, nil)
	t.Cleanup(func() { d.Close() })
	return d
}

// waitFor waits until the directory's picture is as ok wants it.
func waitFor(t *testing.T, d *micro.Directory, what string, ok func(*micro.Picture) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soonIn)
	defer cancel()
	for range d.Watch(ctx) {
		if ok(d.Picture()) {
			return
		}
	}
	t.Fatalf("gave up waiting for %s; the picture: %+v", what, d.Picture().Services)
}

// info returns an answer to INFO as a service with one endpoint gives it.
func info(name, id, endpoint, subject string) string {
	return fmt.Sprintf(`{"type":"io.nats.micro.v1.info_response","name":%q,"id":%q,"version":"1.0.0",`+
		`"endpoints":[{"name":%q,"subject":%q}]}`, name, id, endpoint, subject)
}

// answer says the same to every question on a subject, and counts them.
func answer(t *testing.T, nc *nats.Conn, subject string, texts ...string) *atomic.Int32 {
	t.Helper()
	var asked atomic.Int32
	_, err := nc.Subscribe(subject, func(m *nats.Msg) {
		asked.Add(1)
		for _, text := range texts {
			m.Respond([]byte(text))
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &asked
}

func TestDirectorySeesServicesThatAreThereAndThatCome(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	natstest.AddService(t, nc, "early", "1.2.3", natstest.Endpoint{
		Name: "work", Subject: "early.work.*", Metadata: map[string]string{"k": "v"},
	})
	d := openDirectory(t, b)
	waitFor(t, d, "the early service", func(p *micro.Picture) bool { return p.Has("early") })
	s := d.Picture().Services[0]
	if s.Name != "early" || s.Version != "1.2.3" || s.ID == "" || len(s.Endpoints) != 1 {
		t.Fatalf("service = %+v", s)
	}
	e := s.Endpoints[0]
	if e.Name != "work" || e.Subject != "early.work.*" || e.Queue != "q" || e.Metadata["k"] != "v" {
		t.Errorf("endpoint = %+v", e)
	}
	natstest.AddService(t, nc, "late", "1.0.0", natstest.Endpoint{Name: "work", Subject: "late"})
	waitFor(t, d, "the late service", func(p *micro.Picture) bool { return p.Has("late") && p.Has("early") })
}

// The service answers to its name only, so the picture has it from Lookup alone.
func TestLookupAsksOnceForAllWhoWait(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	d := openDirectory(t, b)
	asked := answer(t, nc, "$SRV.INFO.shy", info("shy", "1", "work", "shy.work"))
	var lookups sync.WaitGroup
	for range 64 {
		lookups.Go(func() {
			e, err := d.Lookup(t.Context(), "shy", "work")
			if err != nil || e.Subject != "shy.work" {
				t.Errorf("endpoint %+v, error %v", e, err)
			}
		})
	}
	lookups.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("the bus was asked %d times, want once", n)
	}
}

func TestLookupOfAnUnknownServiceNeedsNoWaiting(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	d := openDirectory(t, b)
	// The fastest of some, because the machine may be busy.
	least := time.Hour
	for i := range 10 {
		asked := time.Now()
		_, err := d.Lookup(t.Context(), fmt.Sprintf("nobody%d", i), "work")
		least = min(least, time.Since(asked))
		if mayfly.CodeOf(err) != mayfly.NotFound || !strings.Contains(err.Error(), "no service") {
			t.Fatalf("error = %v", err)
		}
	}
	if least >= micro.AskTimeout {
		t.Errorf("each took %s or more", least)
	}
}

func TestLookupRefusesNamesThatAreNoToken(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	asked := answer(t, natstest.Connect(t, b), "$SRV.INFO.>", "{}")
	d := openDirectory(t, b)
	for _, name := range []string{"", "*", ">", "a.b", "a b", "a\r\nPUB x 0", "é\x80", strings.Repeat("x", 65)} {
		if _, err := d.Lookup(t.Context(), name, "work"); mayfly.CodeOf(err) != mayfly.NotFound || err == nil {
			t.Errorf("name %q: error = %v", name, err)
		}
	}
	if _, err := d.Lookup(t.Context(), "fine", "work"); mayfly.CodeOf(err) != mayfly.NotFound || err == nil {
		t.Errorf("error = %v", err)
	}
	eventually(t, "the question for the fine name", func() bool { return asked.Load() > 0 })
	if n := asked.Load(); n != 1 {
		t.Errorf("the bus was asked %d times by name, want once", n)
	}
}

func TestLookupOfAnUnknownEndpointAsksOnceASecond(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	natstest.AddService(t, nc, "known", "1.0.0", natstest.Endpoint{Name: "work"})
	d := openDirectory(t, b)
	waitFor(t, d, "the service", func(p *micro.Picture) bool { return p.Has("known") })
	asked := answer(t, nc, "$SRV.INFO.known")
	start := time.Now()
	for range 3 {
		_, err := d.Lookup(t.Context(), "known", "play")
		if mayfly.CodeOf(err) != mayfly.NotFound || !strings.Contains(err.Error(), `service "known" has no endpoint "play"`) {
			t.Fatalf("error = %v", err)
		}
	}
	most := int32(time.Since(start)/micro.AskAgain) + 1
	if n := asked.Load(); n < 1 || n > most {
		t.Errorf("the bus was asked %d times in %s", n, time.Since(start))
	}
}

func TestLookupEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	answer(t, natstest.Connect(t, b), "$SRV.INFO.silent")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := openDirectory(t, b).Lookup(ctx, "silent", "work")
	if mayfly.CodeOf(err) != mayfly.Timeout || !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}

func TestLookupWithoutConnectionDoesNotClaimNotFound(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	d := openDirectory(t, b)
	b.Close()
	if _, err := d.Lookup(t.Context(), "any", "work"); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("error = %v", err)
	}
}

func TestLookupFindsAnEndpointThatWasAdded(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	s := natstest.AddService(t, nc, "growing", "1.0.0", natstest.Endpoint{Name: "first"})
	d := openDirectory(t, b)
	waitFor(t, d, "the service", func(p *micro.Picture) bool { return p.Has("growing") })
	if err := s.AddEndpoint("second", natsmicro.HandlerFunc(func(natsmicro.Request) {}), natsmicro.WithEndpointSubject("grown")); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	e, err := d.Lookup(t.Context(), "growing", "second")
	if err != nil || e.Subject != "grown" {
		t.Errorf("endpoint %+v, error %v", e, err)
	}
}

func TestDirectoryForgetsWhatNobodyAnswers(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	// It says it is there, once, and has nobody on its subject.
	asked := answer(t, nc, "$SRV.INFO.liar", info("liar", "1", "work", "liar.work"))
	d := openDirectory(t, b)
	if _, err := d.Lookup(t.Context(), "liar", "work"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Call(t.Context(), mayfly.Call{Subject: "liar.work", Deadline: time.Now().Add(soonIn)}); !errors.Is(err, mayfly.ErrNobody) {
		t.Fatalf("error = %v", err)
	}
	waitFor(t, d, "the endpoint to go", func(p *micro.Picture) bool {
		_, ok := p.Lookup("liar", "work")
		return !ok
	})
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	if !d.Picture().Has("liar") {
		t.Error("the whole service is gone, not only the endpoint")
	}
}

func TestDirectoryForgetsWhoDoesNotAnswer(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	s := natstest.AddService(t, nc, "passing", "1.0.0", natstest.Endpoint{Name: "work"})
	natstest.AddService(t, nc, "staying", "1.0.0", natstest.Endpoint{Name: "work"})
	d := openDirectory(t, b)
	waitFor(t, d, "both services", func(p *micro.Picture) bool { return p.Has("passing") && p.Has("staying") })
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, d, "one to go", func(p *micro.Picture) bool { return !p.Has("passing") })
	if !d.Picture().Has("staying") {
		t.Error("the other went, too")
	}
}

func TestHighestVersionWinsAnEndpointsName(t *testing.T) {
	t.Parallel()
	service := func(id, version, subject string) mayfly.Service {
		return mayfly.Service{Name: "s", ID: id, Version: version, Endpoints: []mayfly.Endpoint{{Name: "work", Subject: subject}}}
	}
	for _, tt := range []struct {
		name     string
		services []mayfly.Service
		want     string // subject of s/work
	}{
		{"one", []mayfly.Service{service("a", "1.0.0", "one")}, "one"},
		{"by number, not by letter", []mayfly.Service{service("a", "1.9.0", "nine"), service("b", "1.10.0", "ten")}, "ten"},
		{"whatever the order", []mayfly.Service{service("a", "1.10.0", "ten"), service("b", "1.9.0", "nine")}, "ten"},
		{"a version that is none is the lowest", []mayfly.Service{service("a", "newest", "none"), service("b", "0.0.1", "some")}, "some"},
		{"equals by id", []mayfly.Service{service("b", "1.0.0", "b"), service("a", "1.0.0", "a")}, "a"},
		{"a name before another's subject", []mayfly.Service{
			service("a", "1.0.0", "named"),
			{Name: "s", ID: "b", Version: "9.0.0", Endpoints: []mayfly.Endpoint{{Name: "other", Subject: "work"}}},
		}, "named"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := micro.NewPicture(tt.services...)
			if e, ok := p.Lookup("s", "work"); !ok || e.Subject != tt.want {
				t.Errorf("s/work = %+v, want subject %s", e, tt.want)
			}
			for _, s := range tt.services {
				subject := s.Endpoints[0].Subject
				if e, ok := p.Lookup("s", subject); subject != "work" && (!ok || e.Subject != subject) {
					t.Errorf("s/%s = %+v, %v: not reached by subject", subject, e, ok)
				}
			}
		})
	}
}

func TestPictureIsOrderedByAge(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	route := map[string]string{mayfly.MetaHTTP: "GET /x"}
	natstest.AddService(t, nc, "ageless", "1.0.0", natstest.Endpoint{Name: "a"}) // never asked its age
	first := natstest.AddService(t, nc, "zeta", "1.0.0", natstest.Endpoint{Name: "z", Metadata: route})
	natstest.AddService(t, nc, "beta", "1.0.0", natstest.Endpoint{Name: "b", Metadata: route})
	d := openDirectory(t, b)
	waitFor(t, d, "all ages", func(p *micro.Picture) bool {
		var names []string
		for _, s := range p.Services {
			names = append(names, s.Name)
		}
		return strings.Join(names, " ") == "zeta beta ageless"
	})
	if got := d.Picture().Services[0].Started; !got.Equal(first.Stats().Started) {
		t.Errorf("started %s, want %s", got, first.Stats().Started)
	}
}

func TestHostileAnswersHideNobody(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 5000 {
		many = append(many, fmt.Sprintf(`{"name":"e%d","subject":"many.%d"}`, i, i))
	}
	head := `{"type":"io.nats.micro.v1.info_response",`
	for _, tt := range []struct {
		name    string
		text    string
		counted bool   // as hostile
		service string // that is seen all the same
		ends    int    // how many of its endpoints
	}{
		{name: "no JSON", text: "hello", counted: true},
		{name: "not UTF-8", text: "\xff\xfe\x00", counted: true},
		{name: "half of it", text: head + `"name":"bad`, counted: true},
		{name: "null", text: "null", counted: true},
		{name: "a list", text: "[]", counted: true},
		{name: "another type", text: `{"type":"io.nats.micro.v1.ping_response","name":"bad","id":"1"}`, counted: true},
		{name: "a name of another type", text: head + `"name":7,"id":"1"}`, counted: true},
		{name: "endpoints of another type", text: head + `"name":"bad","id":"1","endpoints":"all"}`, counted: true},
		{name: "an endpoint of another type", text: head + `"name":"bad","id":"1","endpoints":[7]}`, counted: true},
		{name: "no name", text: head + `"id":"1"}`, counted: true},
		{name: "no id", text: head + `"name":"bad"}`, counted: true},
		{name: "a name with control characters", text: head + `"name":"b\u001b[2Jad","id":"1"}`, counted: true},
		{name: "a name with a C1 control character", text: head + `"name":"b\u009bad","id":"1"}`, counted: true},
		{name: "a name that turns the text around", text: head + `"name":"b\u202ead","id":"1"}`, counted: true},
		{name: "a name with dots", text: head + `"name":"a.b","id":"1"}`, counted: true},
		{name: "an id that is a wildcard", text: head + `"name":"bad","id":"*"}`, counted: true},
		{name: "a long name", text: head + `"name":"` + strings.Repeat("x", 1000) + `","id":"1"}`, counted: true},
		{name: "deep JSON", text: strings.Repeat("[", 500_000), counted: true},
		{name: "a huge description", text: head + `"name":"odd","id":"1","description":"` + strings.Repeat("x", 900<<10) + `"}`, service: "odd"},
		{name: "a thousand endpoints and more", text: head + `"name":"odd","id":"1","endpoints":[` + strings.Join(many, ",") + `]}`, service: "odd", ends: micro.MaxEndpoints},
		{
			name: "subjects that are not theirs to give", service: "odd", ends: 1,
			text: head + `"name":"odd","id":"1","endpoints":[{"name":"a","subject":"*.x"},{"name":"b","subject":">"},` +
				`{"name":"c","subject":"$JS.API.STREAM.DELETE.X"},{"name":"d","subject":"$SYS.x"},{"name":"e","subject":"a b"},` +
				`{"name":"f","subject":"mayfly.node.x"},{"name":"g","subject":""},{"name":"h","subject":"a..b"},` +
				`{"name":"i","subject":"_INBOX.x"},{"name":"j","subject":"a\r\nPUB x 0"},{"name":"fine","subject":"fine.*"}]}`,
		},
		{
			name: "endpoint names that are none", service: "odd", ends: 1,
			text: head + `"name":"odd","id":"1","endpoints":[{"subject":"a"},{"name":"\u001b[31m","subject":"b"},{"name":"a b","subject":"c"},{"name":"fine","subject":"d"}]}`,
		},
		{name: "metadata of numbers", text: head + `"name":"odd","id":"1","metadata":{"n":1,"s":"x","o":{},"z":null},"endpoints":[{"name":"e","subject":"e","metadata":{"n":2}}]}`, service: "odd", ends: 1},
		{name: "metadata that is a list", text: head + `"name":"odd","id":"1","metadata":[1],"endpoints":[{"name":"e","subject":"e","metadata":"x"}]}`, service: "odd", ends: 1},
		{name: "the id of another service", text: info("odd", "same", "e", "e"), service: "odd", ends: 1},
		{name: "statistics of nobody", text: `{"type":"io.nats.micro.v1.stats_response","name":"bad","id":"1","started":"2020-01-01T00:00:00Z"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := natstest.New(t)
			// One after the other, and the good one last.
			answer(t, natstest.Connect(t, b), "$SRV.INFO", tt.text, info("good", "same", "work", "work"))
			d := openDirectory(t, b)
			waitFor(t, d, "the good service", func(p *micro.Picture) bool { return p.Has("good") })
			if got := d.Hostile() > 0; got != tt.counted {
				t.Errorf("counted %v, want %v", got, tt.counted)
			}
			for _, s := range d.Picture().Services {
				if s.Name == "good" {
					continue
				}
				if s.Name != tt.service || len(s.Endpoints) != tt.ends {
					t.Errorf("service %s with %d endpoints, want %q with %d", s.Name, len(s.Endpoints), tt.service, tt.ends)
				}
			}
			if want := tt.service == "" || d.Picture().Has(tt.service); !want {
				t.Errorf("service %s is not seen", tt.service)
			}
		})
	}
}

func TestParseInfoKeepsWhatCanBeUsed(t *testing.T) {
	t.Parallel()
	s, why := micro.ParseInfo([]byte(`{"name":"odd","id":"1","version":"1\u001b[0m","description":"two\nlines\u009b","started":"2020-01-01T00:00:00Z",` +
		`"metadata":{"n":1,"s":"x","z":null},"endpoints":[{"name":"e","subject":"e.>","queue_group":"q","metadata":{"k":"v","n":2}}]}`))
	if why != "" {
		t.Fatal(why)
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"odd","id":"1","version":"","description":"two lines ","metadata":{"s":"x"},` +
		`"endpoints":[{"name":"e","subject":"e.\u003e","queue_group":"q","metadata":{"k":"v"}}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWatchTellsOfNowAndClosesWithItsContext(t *testing.T) {
	t.Parallel()
	d := openDirectory(t, natstest.New(t))
	ctx, cancel := context.WithCancel(t.Context())
	changed := d.Watch(ctx)
	if _, ok := <-changed; !ok {
		t.Fatal("closed before anything")
	}
	cancel()
	if _, ok := <-changed; ok {
		t.Error("a change where there was none")
	}
}

func TestDirectoryLeavesNoListener(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	d := micro.OpenDirectory(b, nil)
	if _, err := d.Lookup(t.Context(), "nobody", "work"); err == nil {
		t.Error("found nobody")
	}
	d.Close()
	eventually(t, "the listeners are gone", func() bool { return b.Stats().Inboxes == 0 })
}

// Somebody who listens to everything keeps the server from saying that nobody is there.
func TestAskAnyEndsThoughSomebodyListensToAll(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	if _, err := nc.SubscribeSync(">"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 1)
	go func() {
		_, there := micro.Infos(b).AskAny(t.Context(), "nobody")
		asked <- there
	}()
	select {
	case there := <-asked:
		if there {
			t.Error("nobody has answered")
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
}
