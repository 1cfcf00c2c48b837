package fn_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/fn"
	"github.com/mayfly-run/mayfly/internal/frametest"
)

func TestServe(t *testing.T) {
	folder, err := os.MkdirTemp("", "fn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	link := filepath.Join(folder, "l")
	node := frametest.Listen(t, link)
	t.Setenv(mayfly.EnvLink, link)
	ended := make(chan error, 1)
	go func() {
		ended <- fn.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello from "+r.RemoteAddr) }))
	}()
	<-node.Linked()
	r, err := http.NewRequest(http.MethodGet, "http://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(mayfly.HeaderRemote, "10.0.0.1:80")
	resp, err := (&http.Client{Transport: node}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "hello from 10.0.0.1:80" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Signal(syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	<-node.Gone()
}
