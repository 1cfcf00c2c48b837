package registry

import (
	"bytes"
	"testing"

	"github.com/mayfly-run/mayfly"
)

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
