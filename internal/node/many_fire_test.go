//go:build fire && unix

package node_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/nats-io/nats.go/jetstream"
)

// An author writes entries of the registry, as other nodes' deploys do.
type author struct {
	js       jetstream.JetStream
	digest   string
	revision int
}

func (a *author) put(t *testing.T, key string, entry map[string]any) {
	t.Helper()
	a.revision++
	entry["v"], entry["revision"] = 1, a.revision
	data, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.js.PublishAsync("$KV."+mayfly.BucketRegistry+"."+key, data); err != nil {
		t.Fatal(err)
	}
}

func (a *author) function(t *testing.T, name string, patterns ...string) {
	t.Helper()
	a.put(t, "function/"+name, map[string]any{
		"name": name, "engine": "exec", "start": []string{"true"}, "http": patterns,
		"bundles": map[string]string{mayfly.AnyPlatform: a.digest},
	})
}

func (a *author) route(t *testing.T, name string) {
	t.Helper()
	a.put(t, "route/"+name, map[string]any{"name": name, "http": []string{"GET /" + name + "/{id}"}, "subject": "nobody"})
}

// The promise: with 10,000 functions and 1,000 routes a change is in force within 50 ms
// of its write.
func TestFireChangeAmongManyIsInForceAtOnce(t *testing.T) {
	const functions, routes, changes = 10_000, 1_000, 40
	n := start(t, options(t))
	js, err := openBus(t, n.NATS).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	a := &author{js: js, digest: openShelf(t, n.NATS, t.TempDir()).digest}
	began := time.Now()
	for i := range functions {
		a.function(t, fmt.Sprint("f", i))
		if i%500 == 0 {
			<-js.PublishAsyncComplete()
		}
	}
	for i := range routes {
		a.route(t, fmt.Sprint("r", i))
	}
	<-js.PublishAsyncComplete()
	nc := connect(t, n.NATS)
	eventually(t, "all are there", func() bool {
		return len(n.Roster().Functions()) == functions && len(n.Roster().Routes()) == routes
	})
	t.Logf("written and served after %v", time.Since(began).Round(time.Millisecond))
	eventually(t, "all show themselves on NATS", func() bool { return gather(t, nc, "PING", functions) > 0 })

	// until waits for a change that take makes, and returns how long it took.
	until := func(what string, write func(), there func() bool) time.Duration {
		t.Helper()
		began := time.Now()
		write()
		for late := began.Add(patience); !there(); {
			if time.Now().After(late) {
				t.Fatalf("never: %s", what)
			}
		}
		return time.Since(began)
	}
	status := func(path string) func() bool {
		return func() bool { return ask(t, "GET", n.Gateway+path, nil).StatusCode == 503 }
	}
	number := 0
	measured(t, func() (faults []string) {
		took := map[string][]time.Duration{}
		for range changes {
			number++
			took["a revision"] = append(took["a revision"], until("a revision", func() { a.function(t, "f7") }, func() bool {
				f, _ := n.Roster().Function("f7")
				return f.Revision == uint64(a.revision)
			}))
			name := fmt.Sprint("new", number)
			took["a route"] = append(took["a route"], until("a route", func() { a.route(t, name) }, status("/"+name+"/1")))
			subject := mayfly.FunctionSubject("new-" + mayfly.Name(fmt.Sprint(number)))
			took["a function on NATS"] = append(took["a function on NATS"], until("a function", func() { a.function(t, "new-"+fmt.Sprint(number)) }, func() bool {
				_, err := nc.Request(string(subject), nil, patience)
				return err == nil
			}))
		}
		for what, all := range took {
			slices.Sort(all)
			half, most := all[len(all)/2].Round(10*time.Microsecond), all[len(all)-1].Round(10*time.Microsecond)
			t.Logf("%s: in force after %v (median), %v (at most)", what, half, most)
			if half > 50*time.Millisecond {
				faults = append(faults, fmt.Sprintf("%s is in force after %v, want 50 ms", what, half))
			}
		}
		return faults
	})
}
