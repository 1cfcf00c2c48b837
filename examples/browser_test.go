package examples_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/natstest"
)

// A site serves pages to a browser and takes what they report.
type site struct {
	*httptest.Server
	tasks chan any    // for a page that asks what to do
	seen  chan string // by a page
}

// openSite serves the files of a folder, and pages for tests below /test/.
func openSite(t *testing.T, folder string) *site {
	s := &site{tasks: make(chan any, 1), seen: make(chan string, 1)}
	pages := http.NewServeMux()
	pages.Handle("GET /", http.FileServer(http.Dir(folder)))
	pages.Handle("GET /test/", http.StripPrefix("/test/", http.FileServer(http.Dir("testdata/browser"))))
	pages.HandleFunc("GET /tasks", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(<-s.tasks) })
	pages.HandleFunc("POST /seen", func(_ http.ResponseWriter, r *http.Request) {
		if text, err := io.ReadAll(r.Body); err == nil {
			s.seen <- string(text)
		}
	})
	s.Server = httptest.NewServer(pages)
	t.Cleanup(s.Close)
	return s
}

// named is the site's origin under another name of this machine.
func (s *site) named(host string) string {
	return strings.Replace(s.URL, "127.0.0.1", host, 1)
}

// allow has the manifest in a folder, which has ${PAGE}, allow the site's pages.
func (s *site) allow(t *testing.T, folder string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, ".env"), []byte("PAGE="+s.named("localhost")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// at is the URL of the gateway on a host. A page of another host is of another site, and so
// only cookies that permit it come along.
func (n *node) at(host string) string {
	return "http://" + host + n.url[strings.LastIndex(n.url, ":"):]
}

// browse opens a page of the site in Chromium and gives it its tasks. It returns what the
// page has seen then.
func (s *site) browse(t *testing.T, page string, tasks, seen any) {
	t.Helper()
	chromium, home := needChromium(t), t.TempDir()
	// Without a window, it blocks the cookies of other sites unless its profile says otherwise.
	preferences := filepath.Join(home, "profile", "Default", "Preferences")
	if err := errors.Join(os.MkdirAll(filepath.Dir(preferences), 0o700),
		os.WriteFile(preferences, []byte(`{"profile": {"cookie_controls_mode": 0}}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	s.tasks <- tasks
	ctx, stop := context.WithCancel(t.Context())
	// The pages are our own, and in containers there may be no sandbox.
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-component-update",
		"--user-data-dir="+filepath.Join(home, "profile"), page)
	cmd.Env = append(environment(), "HOME="+home)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it ends its children, too
	cmd.WaitDelay = patience
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	defer func() {
		stop()
		<-ended
	}()
	select {
	case text := <-s.seen:
		if err := json.Unmarshal([]byte(text), seen); err != nil {
			t.Fatalf("%s reports %q: %v", page, text, err)
		}
	case <-ended:
		t.Fatalf("chromium ended:\n%s", log.String())
	case <-time.After(patience):
		t.Fatalf("%s has reported nothing", page)
	}
}

func needChromium(t *testing.T) string {
	t.Helper()
	var missing error
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		path, err := exec.LookPath(name)
		if err == nil {
			return path
		}
		missing = errors.Join(missing, err)
	}
	natstest.Require(t, "chromium", missing, "install it, on Debian as chromium")
	return ""
}

// A task is what a page does, and what it must see.
type task struct {
	URL         string `json:"url"`
	Method      string `json:"method,omitempty"`
	Type        string `json:"type,omitempty"` // of the body, or "events"
	Body        string `json:"body,omitempty"`
	Credentials string `json:"credentials"`

	want string // in what it sees
}

// A browser decides by what the gateway lets through: a page whose origin a function, its
// cors: or a route allows may use it, with cookies, and another page may not. On another site
// only cookies with SameSite=None come back. A gateway that other machines reach answers
// pages as one on loopback does.
func TestPageOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	needChromium(t)
	_, err := exec.LookPath("node")
	natstest.Require(t, "node", err, "install Node.js 18 or newer")
	const refused = "TypeError"
	for _, tt := range []struct {
		name  string
		flags []string
	}{
		{"loopback", nil},
		{"public", []string{"--gateway.addr", "0.0.0.0:0", "--gateway.open"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, "testdata/origins")
			root := t.TempDir()
			if err := os.CopyFS(root, os.DirFS("testdata/origins")); err != nil {
				t.Fatal(err)
			}
			s.allow(t, root)
			n := up(t, root, ".", tt.flags...)
			const json, text = "application/json", "text/plain"
			for _, page := range []struct {
				host, gateway string
				tasks         []task
			}{
				{"localhost", "localhost", []task{
					{"/fn/own", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
					{"/fn/own", "POST", json, "{}", "", "200 POST {}, team red, cookie seen=yes, total 7"},
					{"/fn/own", "POST", text, "hi", "", "200 POST hi, team null, cookie seen=yes, total 7"},
					{"/fn/own", "GET", "", "", "", "200 GET , team null, cookie seen=yes, total 7"},
					{"/fn/own/events", "", "events", "", "", "one, two, cookie seen=yes"},
					{"/fn/declared", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
					{"/fn/declared", "POST", text, "hi", "", "200 POST hi, team null, cookie seen=yes, total 7"},
					{"/fn/declared", "DELETE", "", "", "", "200 DELETE , team null, cookie seen=yes, total 7"},
					{"/fn/declared/events", "", "events", "", "", "one, two, cookie seen=yes"},
					{"/fn/none", "POST", json, "{}", "omit", refused},
					{"/fn/none", "POST", text, "hi", "omit", "at functions.none"},
					{"/fn/none", "GET", "", "", "omit", refused},
					{"/fn/none/events", "", "events", "", "", "refused"},
					{"/door", "POST", text, "hi", "omit", "200 POST hi, team null, cookie none, total null"},
					{"/nowhere", "POST", text, "hi", "omit", "403"},
				}},
				{"localhost", "127.0.0.1", []task{
					{"/fn/own-sites", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
					{"/fn/own-sites", "POST", json, "{}", "", "200 POST {}, team red, cookie seen=yes, total 7"},
					{"/fn/own-sites", "GET", "", "", "omit", "200 GET , team null, cookie none, total 7"},
					{"/fn/own-sites/events", "", "events", "", "", "one, two, cookie seen=yes"},
					{"/fn/declared-sites", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
					{"/fn/declared-sites", "POST", json, "{}", "", "200 POST {}, team red, cookie seen=yes, total 7"},
					{"/fn/declared-sites/events", "", "events", "", "", "one, two, cookie seen=yes"},
					{"/fn/own", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
					{"/fn/own", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
					{"/fn/declared", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
					{"/fn/declared", "POST", json, "{}", "", "200 POST {}, team red, cookie none, total 7"},
				}},
				{"127.0.0.1", "localhost", []task{
					{"/fn/own", "POST", json, "{}", "", refused},
					{"/fn/own", "POST", text, "hi", "omit", "403"},
					{"/fn/own/events", "", "events", "", "", "refused"},
					{"/fn/declared", "POST", json, "{}", "", refused},
					{"/fn/declared", "POST", text, "hi", "omit", "at functions.declared"},
					{"/fn/declared", "GET", "", "", "", refused},
					{"/door", "POST", text, "hi", "omit", "at routes.door"},
				}},
			} {
				for i := range page.tasks {
					page.tasks[i].URL = n.at(page.gateway) + page.tasks[i].URL
					page.tasks[i].Credentials = cmp.Or(page.tasks[i].Credentials, "include")
				}
				var seen []string
				s.browse(t, s.named(page.host)+"/test/tasks.html", page.tasks, &seen)
				for i, task := range page.tasks {
					if i >= len(seen) || !strings.Contains(seen[i], task.want) {
						t.Errorf("a page of %s: %s %s, %s, sees %q, want %q", page.host, task.Method, task.URL, task.Type, seen[i:min(i+1, len(seen))], task.want)
					}
				}
			}
		})
	}
}
