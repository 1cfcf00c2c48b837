package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/micro"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/registry"
)

// statistics are the valid ones of these answers.
func statistics(bodies ...string) []micro.Statistics {
	s := micro.Stats(nil)
	for _, b := range bodies {
		s.Add(bus.Answer{Body: []byte(b)})
	}
	return s.Answers()
}

func TestListJoinsInstancesAndSkipsWhatDoesNotParse(t *testing.T) {
	t.Parallel()
	got := listServices(statistics(
		`{"name":"b","id":"2","version":"1.0.0","endpoints":[{"name":"x","subject":"b.x","num_requests":2,"num_errors":1,"data":"its own"}]}`,
		`not JSON`, ``, `[]`, `{"name":7,"id":"1"}`, `{"name":"nameless id"}`, `{"id":"3"}`,
		`{"name":"b","id":"1","version":"1.0.0","endpoints":[{"name":"y","subject":"b.y","num_requests":3}],"metadata":{"n":1}}`,
		`{"name":"b","id":"1","version":"1.0.0","endpoints":[{"name":"again","subject":"b.y","num_requests":3}]}`,
		`{"name":"b","id":"3","version":"2.0.0","endpoints":null,"metadata":"none"}`,
		`{"name":"a","id":"9","version":"1.0.7","endpoints":[{"name":"call","subject":"fn.a","num_requests":1,"data":{"engine":"http","instances":3,"failing":true}}]}`,
		`{"name":"a","id":"8","version":"1.0.8","endpoints":[{"name":"call","subject":"fn.a","num_requests":1,"data":{"engine":"exec","instances":1}}]}`,
		`{"name":"c","id":"7","version":"1.0.0","endpoints":[{"name":"call","subject":"fn.c","data":{"instances":-1}}]}`,
	))
	want := []listed{
		{Name: "a", Kind: "function", Version: "@8", Engine: "exec", State: "failing", Instances: 4, Calls: 2, Endpoints: []string{"call"}},
		{Name: "b", Kind: "service", Version: "1.0.0", State: "ok", Instances: 2, Calls: 5, Errors: 1, Endpoints: []string{"y", "x"}},
		{Name: "b", Kind: "service", Version: "2.0.0", State: "ok", Instances: 1, Endpoints: []string{}},
		{Name: "c", Kind: "function", Version: "@dev", State: "ok", Endpoints: []string{"call"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestListShowsWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	why := errors.New("it is null")
	got := addUnreadable([]listed{
		{Name: "a", Kind: "function", Version: "@2", State: "ok"},
		{Name: "b", Kind: "service", State: "ok"},
	}, []registry.Unreadable{{Key: "function/a", Err: why}, {Key: "function/b", Err: why}, {Key: "route/b", Err: why}})
	want := []listed{
		{Name: "a", Kind: "function", Version: "@2", State: "unreadable"},
		{Name: "b", Kind: "service", State: "ok"},
		{Name: "b", Kind: "function", State: "unreadable", Description: "it is null", Endpoints: []string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever the order of the nodes, what is best for callers is shown, and nothing of the rest.
func TestListShowsTheBestStateOfAllNodes(t *testing.T) {
	t.Parallel()
	failed := peers.Condition{Name: "a", Kind: "function", State: peers.Failed, Error: "no file"}
	failing := peers.Condition{Name: "a", Kind: "function", State: peers.Failing, Error: "it ended"}
	building := peers.Condition{Name: "a", Kind: "function", State: peers.Building, Since: time.Now()}
	running := peers.Condition{Name: "a", Kind: "function", State: peers.Running, Instances: 2}
	is := func(state, description, problem string, instances int) listed {
		return listed{
			Name: "a", Kind: "function", Version: "@dev", State: state, Description: description, Error: problem,
			Instances: instances, Endpoints: []string{},
		}
	}
	for _, tt := range []struct {
		one, other peers.Condition
		want       listed
	}{
		{building, running, is("ok", "", "", 2)},
		{building, failed, is("building", "for 0s", "", 0)},
		{building, failing, is("building", "for 0s", "", 0)},
		{failed, failing, is("failing", "", "it ended", 0)},
		{failed, running, is("ok", "", "", 2)},
	} {
		for _, nodes := range [][]peers.Node{
			{{Units: []peers.Condition{tt.one}}, {Units: []peers.Condition{tt.other}}},
			{{Units: []peers.Condition{tt.other}}, {Units: []peers.Condition{tt.one}}},
		} {
			if diff := cmp.Diff([]listed{tt.want}, addConditions(nil, nodes)); diff != "" {
				t.Errorf("%s, then %s: %s", nodes[0].Units[0].State, nodes[1].Units[0].State, diff)
			}
		}
	}
	stopped := []listed{{Name: "a", Kind: "function", State: "down", Description: "what it does"}}
	got := addConditions(stopped, []peers.Node{{Units: []peers.Condition{failed}}, {Units: []peers.Condition{running}}})
	if got[0].State != "ok" || got[0].Description != "what it does" {
		t.Errorf("what is deployed is %+v", got[0])
	}
}

func TestStatsAreSummedOverInstances(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	rows := sumStats(statistics(
		`{"name":"s","id":"1","started":"2026-01-01T00:00:00Z","endpoints":[{"name":"x","subject":"s.x","num_requests":10,"num_errors":1,"last_error":"e","processing_time":1000}]}`,
		`{"name":"s","id":"2","started":"2026-01-01T00:00:05Z","endpoints":[{"name":"x","subject":"s.x","num_requests":30,"processing_time":7000},{"name":"y","subject":"s.y"}]}`,
		`{"name":"s","id":"3","endpoints":[{"name":"x","subject":"s.x","num_requests":-1}]}`,
		`{"name":"f","id":"4","endpoints":[{"name":"call","subject":"fn.f","data":{"instances":3}}]}`,
		`{"name":"f","id":"5","endpoints":[{"name":"call","subject":"fn.f","data":{"instances":0}}]}`,
	), now)
	want := []statsRow{
		{Service: "f", Endpoint: "call", Subject: "fn.f", Instances: 3},
		{Service: "s", Endpoint: "x", Subject: "s.x", Instances: 2, Requests: 40, Errors: 1, Rate: 7, Average: 200, LastError: "e", total: 8000},
		{Service: "s", Endpoint: "y", Subject: "s.y", Instances: 1},
	}
	if diff := cmp.Diff(want, rows, cmp.AllowUnexported(statsRow{})); diff != "" {
		t.Error(diff)
	}
}

func TestRatesAreThoseBetweenSamples(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	row := func(endpoint string, requests uint64) statsRow {
		return statsRow{Service: "s", Endpoint: endpoint, Requests: requests, Rate: 99}
	}
	last := sampleOf([]statsRow{row("grew", 10), row("rests", 5), row("restarted", 50)}, start)
	rows := []statsRow{row("grew", 14), row("rests", 5), row("restarted", 3), row("new", 7)}
	setRates(rows, last, start.Add(2*time.Second))
	for i, want := range []float64{2, 0, 0, 0} {
		if rows[i].Rate != want {
			t.Errorf("rate of %s = %v, want %v", rows[i].Endpoint, rows[i].Rate, want)
		}
	}
}

func TestPickEndpointIsUnambiguous(t *testing.T) {
	t.Parallel()
	one := mayfly.Service{Name: "S", Endpoints: []mayfly.Endpoint{{Name: "x", Subject: "s.x"}}}
	two := mayfly.Service{Name: "S", Endpoints: []mayfly.Endpoint{{Name: "x", Subject: "s.x"}, {Name: "y", Subject: "s.*"}}}
	twins := mayfly.Service{Name: "S", Endpoints: []mayfly.Endpoint{{Name: "x", Subject: "a.x"}, {Name: "x", Subject: "b.x"}}}
	hostile := mayfly.Service{Name: "S", Endpoints: []mayfly.Endpoint{{Name: "x", Subject: "$JS.API.STREAM.PURGE.ORDERS"}}}
	for _, tt := range []struct {
		name    string
		service mayfly.Service
		words   []string
		subject mayfly.Subject
		rest    []string
		code    mayfly.Code
	}{
		{"the only one needs no name", one, nil, "s.x", nil, 0},
		{"the word after it is the body", one, []string{"hi"}, "s.x", []string{"hi"}, 0},
		{"but for its name", one, []string{"x"}, "s.x", []string{}, 0},
		{"name and body", one, []string{"x", "x"}, "s.x", []string{"x"}, 0},
		{"two words want a name", one, []string{"z", "hi"}, "", nil, mayfly.NotFound},
		{"several want a name", two, nil, "", nil, mayfly.Invalid},
		{"a name", two, []string{"x", "hi"}, "s.x", []string{"hi"}, 0},
		{"a subject", two, []string{"s.x"}, "s.x", []string{}, 0},
		{"an unknown name", two, []string{"hi"}, "", nil, mayfly.NotFound},
		{"a wildcard must be filled in", two, []string{"y"}, "", nil, mayfly.Invalid},
		{"one name for two", twins, []string{"x"}, "", nil, mayfly.Conflict},
		{"one subject of the two", twins, []string{"b.x"}, "b.x", []string{}, 0},
		{"no endpoints", mayfly.Service{}, nil, "", nil, mayfly.NotFound},
		{"a subject that is not a service's to give", hostile, []string{"x"}, "", nil, mayfly.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			subject, rest, err := pickEndpoint(tt.service, tt.words)
			if tt.subject == "" {
				if err == nil || mayfly.CodeOf(err) != tt.code || mayfly.HintOf(err) == "" {
					t.Fatalf("error %v with code %v and hint %q, want code %v", err, mayfly.CodeOf(err), mayfly.HintOf(err), tt.code)
				}
				return
			}
			if diff := cmp.Diff(tt.rest, rest); err != nil || subject != tt.subject || diff != "" {
				t.Errorf("subject %q, error %v, rest: %s", subject, err, diff)
			}
		})
	}
}

// Whatever a service says of itself, what is printed has no control characters but
// line feeds, and no answer panics.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"name":"a","id":"1","version":"\u001b[2J","description":"x\u202ey\tz\n","endpoints":[{"name":"\u0007","subject":"fn.a","metadata":{"mayfly.http":"GET /\r\n","k":1}}]}`))
	f.Add([]byte(`{"name":"a","id":"1","started":"0001-01-01T00:00:00Z","endpoints":[{"name":"x","num_requests":18446744073709551615,"processing_time":-9223372036854775808,"last_error":"\u009b31m"}]}`))
	f.Add([]byte(`[{"pattern":"GET /\u001b]0;x\u0007","target":"t","shadowed":"why"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var out bytes.Buffer
		p := &process{stdout: &out, stderr: &out}
		same := []bus.Answer{{Body: body, Took: time.Millisecond}}
		infos := micro.Infos(nil)
		infos.Add(same[0])
		for _, a := range infos.Answers() {
			if err := p.printInstance(a); err != nil {
				t.Fatal(err)
			}
			_, _, err := pickEndpoint(a, []string{a.Name})
			if err != nil {
				p.report(err)
			}
		}
		for _, s := range listServices(statistics(string(body))) {
			table{{s.Name, s.Kind, s.Version, clipList(s.Endpoints, 4), s.Description}}.print(&out, "")
		}
		if err := (&stats{}).print(&out, sumStats(statistics(string(body)), time.Now())); err != nil {
			t.Fatal(err)
		}
		pings := micro.Pings(nil)
		pings.Add(same[0])
		for _, g := range pings.Answers() {
			table{{g.Name, g.Version, g.ID}}.print(&out, "")
		}
		var routes []peers.Route
		_ = json.Unmarshal(body, &routes)
		for _, l := range routes {
			table{{l.Pattern, l.Target, l.Origin, l.Shadowed}}.print(&out, "")
		}
		if i := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			text, _ := json.Marshal(out.String())
			t.Fatalf("printed %s", text)
		}
	})
}
