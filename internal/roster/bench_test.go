package roster_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
	"github.com/nats-io/nats.go/jetstream"
)

// Of 10,000 functions one is deployed, beside 1,000 routes: from the write of its
// entry until the runner has it and the routes are known. The write is most of it.
func BenchmarkDeploy(b *testing.B) {
	const functions, routes = 10_000, 1_000
	s := start(b, nil)
	js, err := jetstream.New(natstest.Connect(b, s.bus), jetstream.WithPublishAsyncMaxPending(1000))
	if err != nil {
		b.Fatal(err)
	}
	put := func(key string, entry map[string]any) {
		entry["v"] = 1
		data, err := json.Marshal(entry)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishAsync("$KV."+mayfly.BucketRegistry+"."+key, data); err != nil {
			b.Fatal(err)
		}
	}
	function := func(i, revision int) {
		name := fmt.Sprint("f", i)
		put("function/"+name, map[string]any{
			"name": name, "revision": revision, "engine": "http", "start": []string{"x"},
			"bundles": map[string]string{mayfly.AnyPlatform: s.digest},
		})
	}
	for i := range functions {
		function(i, 1)
	}
	for i := range routes {
		name := fmt.Sprint("r", i)
		put("route/"+name, map[string]any{
			"name": name, "revision": 1, "http": []string{fmt.Sprintf("GET /r%d/{id}", i)}, "function": fmt.Sprint("f", i),
		})
	}
	<-js.PublishAsyncComplete()
	s.await(b, "all is there", func() bool { return len(s.Functions()) == functions && len(s.Routes()) == routes })

	news := s.Watch(b.Context())
	for revision := 2; b.Loop(); revision++ {
		function(1, revision)
		for {
			if f, _ := s.Function("f1"); f.Revision == uint64(revision) {
				break
			}
			<-news
		}
		if len(s.Routes()) != routes {
			b.Fatal("routes are missing")
		}
	}
}
