package registry

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
)

// The fixtures are entries as the first Mayfly with a registry wrote them. They must
// be read in full, and be written the same way, so that both can share a store.
func TestEntriesStayAsTheyWere(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("0", 64)
	hello, err := mayfly.ParsePattern("GET /hello/{name}")
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct {
		unit   mayfly.Unit
		scaled mayfly.Instances
	}{
		"function-hello.json": {
			unit: mayfly.Unit{
				Name: "hello", Project: "shop", Revision: 1, Summary: "Greets.", HTTP: []mayfly.Pattern{hello}, Metadata: map[string]string{"team": "a"},
				Program: mayfly.Program{
					Engine: mayfly.EngineExec, Start: []string{"./hello.sh"}, Bundles: map[string]string{"any": digest}, CGI: true,
					Env: map[string]string{"STAGE": "dev"}, Secrets: []string{"api-key"}, Creds: "nats", Memory: 256 << 20, Labels: map[string]string{"zone": "eu"},
				},
				Limits: mayfly.Limits{
					Timeout: mayfly.Duration(5 * time.Second), IdleTimeout: mayfly.Duration(2 * time.Minute), Body: 2 << 30, Concurrency: 1, Wait: -1,
					Instances: mayfly.Instances{Min: 2, Max: 2, Idle: mayfly.Duration(90 * time.Second), Start: mayfly.Duration(20 * time.Second)},
				},
			},
			scaled: mayfly.Instances{Min: 1, Max: 9},
		},
		"service-Hacker_News.json": {
			unit: mayfly.Unit{
				Kind: mayfly.KindService, Name: "Hacker_News", Project: "shop", Revision: 1, Limits: mayfly.Limits{Instances: mayfly.Exactly(2)},
				Program: mayfly.Program{
					Engine: mayfly.EngineService, Start: []string{"./hn"}, Bundles: map[string]string{"linux/amd64": digest}, Env: map[string]string{"A": "b"},
				},
			},
			scaled: mayfly.Exactly(5),
		},
		"service-None.json": {
			unit: mayfly.Unit{
				Kind: mayfly.KindService, Name: "None", Project: "shop", Revision: 1,
				Program: mayfly.Program{
					Engine: mayfly.EngineService, Start: []string{"./hn"}, Bundles: map[string]string{"linux/amd64": digest}, Env: map[string]string{"A": "b"},
				},
			},
		},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", "entries", file))
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.TrimSpace(data)
		e, err := decode(strings.Replace(strings.TrimSuffix(file, ".json"), "-", "/", 1), data, 1)
		if err != nil {
			t.Fatal(err)
		}
		scaled := want.unit
		if e.Scaled != nil {
			scaled.Instances = want.scaled
		}
		if got, err := thingOf[mayfly.Unit](e); err != nil || !reflect.DeepEqual(got, scaled) {
			t.Errorf("%s is read as %+v, %v; want %+v", file, got, err, scaled)
		}
		if e.settings, err = settingsOf(want.unit); err != nil {
			t.Fatal(err)
		}
		if written, err := e.encode(); err != nil || !bytes.Equal(written, data) {
			t.Errorf("%s is written as\n%s, %v; want\n%s", file, written, err, data)
		}
	}
}

// Whatever stands in the bucket breaks no reader, and what can be read is written
// back as it was.
func FuzzEntry(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"name":"hello","revision":3,"engine":"exec","start":["./hello"],"bundles":{"any":"00"},"instances":{"max":2},"scaled":{"min":1}}`,
		`{"v":1,"name":"HackerNews","revision":1,"engine":"service","start":[],"instances":2,"scaled":3}`,
		`{"v":1,"name":"top","http":["GET /top/{n}"],"subject":"top.*","payload":"{n}","cors":{"origins":["*"]}}`,
		`{"v":1,"removed":true,"revision":7}`,
		`{"v":2}`, `null`, `{}`, `[]`, `{"scaled":null,"colour":"red"}`, `{"name":7}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode("function/hello", data, 1)
		if err != nil {
			if mayfly.CodeOf(err) != mayfly.Invalid {
				t.Fatalf("error %v has code %v", err, mayfly.CodeOf(err))
			}
			return
		}
		for _, key := range []string{"function/hello", "service/HackerNews", "route/top"} {
			_, _ = newPicture().put(key, e, nil)
		}
		_, _ = e.bundles() // an error at most
		e.settings = e.present()
		written, err := e.encode()
		if err != nil {
			return // too large
		}
		again, err := decode("function/hello", written, 1)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, written)
		}
		again.settings = again.present()
		if twice, err := again.encode(); err != nil || !bytes.Equal(written, twice) {
			t.Fatalf("written twice differently (%v):\n%s\n%s", err, written, twice)
		}
	})
}
