package static

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/runner"
)

// An Engine makes instances that serve files. The zero value is ready.
type Engine struct{}

// Traits implements runner.Engine.
func (Engine) Traits() runner.Traits { return runner.Traits{PerCall: true} }

// Start implements runner.Engine. The program's Start is the folder of the files,
// within the bundle's.
func (Engine) Start(_ context.Context, s runner.Spec) (runner.Instance, error) {
	if len(s.Program.Start) != 1 {
		return nil, mayfly.Errorf(mayfly.Crashed, "%s names %q, not one folder of files", s.Name, s.Program.Start).
			WithHint("deploy it again")
	}
	root, err := os.OpenRoot(filepath.Join(s.Folder, s.Program.Start[0]))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Crashed, "cannot open the files of %s: %w", s.Name, err)
	}
	i := &instance{root: root, site: newSite(root, s.Program.Fallback), done: make(chan struct{})}
	if f := s.Program.Fallback; f != "" {
		if info, err := root.Stat(f); err != nil || !info.Mode().IsRegular() {
			_ = root.Close()
			return nil, mayfly.Errorf(mayfly.Crashed, "%s has no file %s to fall back on", s.Name, f).
				WithHint("correct fallback: in mayfly.yaml")
		}
	}
	return i, nil
}

// An instance implements runner.Instance.
type instance struct {
	root *os.Root
	site *site
	done chan struct{}
	stop sync.Once
}

// param is the header with what a pattern such as /docs/{path...} leaves of the path.
const param = mayfly.HeaderParamPrefix + "Path"

// Call implements runner.Instance. A call that did not come by HTTP is a GET.
func (i *instance) Call(_ context.Context, c *mayfly.Call) (mayfly.Reply, error) {
	select {
	case <-i.done:
		return mayfly.Reply{}, mayfly.Errorf(mayfly.Unavailable, "the instance was stopped").WithHint("try again")
	default:
	}
	w := &response{header: http.Header{}}
	if prefix := c.Header.Get("X-Forwarded-Prefix"); prefix != "" && c.Path == "" {
		w.redirect(path.Base(prefix), c.Query) // or links relative to the page lead elsewhere
		return w.reply(nil)
	}
	where, err := url.PathUnescape(cmp.Or(c.Path, "/"))
	if err != nil {
		return mayfly.Reply{}, mayfly.Errorf(mayfly.Invalid, "the path has a bad escape")
	}
	if rest, ok := c.Header[param]; ok {
		where = "/" + rest[0]
	}
	method := c.Method
	if c.Host == "" {
		method = http.MethodGet
	}
	file, err := i.site.serve(w, &http.Request{Method: method, URL: &url.URL{Path: where, RawQuery: c.Query}, Header: c.Header})
	if err != nil {
		return mayfly.Reply{}, err
	}
	return w.reply(file)
}

// Done implements runner.Instance.
func (i *instance) Done() <-chan struct{} { return i.done }

// Err implements runner.Instance.
func (i *instance) Err() error { return nil }

// Stop implements runner.Instance. Files on their way to a client stay open.
func (i *instance) Stop(context.Context) {
	i.stop.Do(func() {
		close(i.done)
		_ = i.root.Close()
	})
}

// Usage implements runner.Instance.
func (i *instance) Usage() runner.Usage { return runner.Usage{} }
