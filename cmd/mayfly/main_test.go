package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// patience bounds every wait for an event, far above what it takes.
const patience = 30 * time.Second

// TestMain makes this very binary the programs that the scripts run.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mayfly":       main,
		"microservice": microservice,
		"natsserver":   natsServer,
		"get":          get,
	})
}

// TestManual runs testdata: each script is a page of the manual.
func TestManual(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Values[programs] = &background{byName: map[string]*program{}}
			e.Defer(func() { e.Values[programs].(*background).stopAll(e.T()) })
			return os.Mkdir(home, 0o755)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":   exits,
			"bare":    bare,
			"up":      up,
			"service": service,
			"run":     run,
			"term":    term,
			"await":   await,
			"halt":    halt,
		},
	})
}

// exits runs a command that must end with the given code: exits 4 mayfly info x.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENTS]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// up starts mayfly up with the given arguments on free ports, waits until it is
// ready and sets NATS, GATEWAY, GATEWAY_HOST and ADMIN. At the end of the script it must stop
// without an error.
func up(ts *testscript.TestScript, _ bool, args []string) {
	free := []string{"up", "--bus.addr", "127.0.0.1:0", "--gateway.addr", "127.0.0.1:0", "--admin.addr", "127.0.0.1:0", "--log.format", "text"}
	p := start(ts, "up", "mayfly", append(free, args...)...)
	p.await(ts, `^  try `, 1)
	for name, variable := range map[string]string{"nats": "NATS", "gateway": "GATEWAY", "admin": "ADMIN"} {
		line := p.await(ts, `^  `+name+` `, 1)
		ts.Setenv(variable, strings.Fields(line)[1])
	}
	_, host, _ := strings.Cut(ts.Getenv("GATEWAY"), "://")
	ts.Setenv("GATEWAY_HOST", host)
}

// bare starts a NATS server without JetStream and sets NATS.
func bare(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("NATS", start(ts, "bare", "natsserver", "nats://127.0.0.1:-1").await(ts, "^nats://", 1))
}

// service starts a micro service on the bus of up: service NAME [VERSION]. Its
// endpoints are echo, upper and fail; one named Slow has wait, which answers when
// release is called.
func service(ts *testscript.TestScript, _ bool, args []string) {
	start(ts, args[0], "microservice", args...).await(ts, "^serving$", 1)
	start(ts, args[0]+"-seen", "mayfly", "ping", args[0]).await(ts, args[0], 1)
}

// run starts any command beside the script: run NAME COMMAND [ARGUMENTS].
func run(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: run NAME COMMAND [ARGUMENTS]")
	}
	start(ts, args[0], args[1], args[2:]...)
}

// term asks a program of the script to end, and does not wait for that.
func term(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: term PROGRAM")
	}
	of(ts).find(ts, args[0]).term()
}

// await waits until a program of the script has printed a line that matches, or several, or
// until it has ended: await up '^\+ Words' 2.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 3 {
		ts.Fatalf("usage: await PROGRAM [PATTERN [TIMES]]")
	}
	p, times := of(ts).find(ts, args[0]), 1
	if len(args) > 2 {
		var err error
		times, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	if len(args) > 1 {
		p.await(ts, args[1], times)
	} else {
		p.all.Wait()
	}
}

// halt ends a program of the script, which must exit without an error.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: halt PROGRAM")
	}
	if err := of(ts).find(ts, args[0]).halt(); err != nil {
		ts.Fatalf("%v", err)
	}
}

type contextKey string

const programs contextKey = "programs"

// background holds the programs that run beside a script.
type background struct {
	byName map[string]*program
	order  []*program
}

func of(ts *testscript.TestScript) *background { return ts.Value(programs).(*background) }

func (b *background) find(ts *testscript.TestScript, name string) *program {
	p, ok := b.byName[name]
	if !ok {
		ts.Fatalf("no program %q runs", name)
	}
	return p
}

// stopAll ends the programs in reverse order of their start.
func (b *background) stopAll(t testscript.T) {
	for i := len(b.order) - 1; i >= 0; i-- {
		if err := b.order[i].halt(); err != nil {
			t.Log(err)
			t.FailNow()
		}
	}
}

// A program runs in the background and is known by what it has printed.
type program struct {
	name string
	cmd  *exec.Cmd
	all  sync.WaitGroup // its output is read to the end

	mu    sync.Mutex
	more  *sync.Cond // lines grew, or ended
	lines []string
	ended bool

	term   func() // sends SIGTERM, once: a second one would kill
	halted func() error
}

func start(ts *testscript.TestScript, name, command string, args ...string) *program {
	path, err := lookPath(ts, command)
	ts.Check(err)
	p := &program{name: name, cmd: exec.Command(path, args...)}
	p.more = sync.NewCond(&p.mu)
	p.cmd.Dir = ts.Getenv("WORK")
	p.cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "WORK="+ts.Getenv("WORK"), "NATS_URL="+ts.Getenv("NATS"))
	out, in, err := os.Pipe()
	ts.Check(err)
	p.cmd.Stdout, p.cmd.Stderr = in, in
	ts.Check(p.cmd.Start())
	in.Close()
	p.all.Go(func() { p.read(out) })
	p.term = sync.OnceFunc(func() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }) // it may have ended by itself
	p.halted = sync.OnceValue(p.end)
	b := of(ts)
	b.byName[name] = p
	b.order = append(b.order, p)
	return p
}

// lookPath finds a command as the script would.
func lookPath(ts *testscript.TestScript, command string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, command); isFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no command %s", command)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (p *program) read(r io.ReadCloser) {
	defer r.Close()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		p.mu.Unlock()
		p.more.Broadcast()
	}
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.more.Broadcast()
}

// await returns the line that matches for the given time, counted from 1, once it is there.
func (p *program) await(ts *testscript.TestScript, pattern string, times int) string {
	re, err := regexp.Compile(pattern)
	ts.Check(err)
	late := false
	timer := time.AfterFunc(patience, func() {
		p.mu.Lock()
		late = true
		p.mu.Unlock()
		p.more.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for seen := 0; ; p.more.Wait() {
		for ; seen < len(p.lines); seen++ {
			if re.MatchString(p.lines[seen]) {
				times--
			}
			if times == 0 {
				return p.lines[seen]
			}
		}
		if p.ended || late {
			ts.Fatalf("%s printed too few lines that match %s:\n%s", p.name, pattern, strings.Join(p.lines, "\n"))
		}
	}
}

func (p *program) halt() error { return p.halted() }

func (p *program) end() error {
	p.term()
	kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	p.all.Wait()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name, err, strings.Join(p.lines, "\n"))
	}
	return nil
}

// microservice is a program: a micro service as its users would write one.
func microservice() {
	name, version := os.Args[1], "1.0.0"
	if len(os.Args) > 2 {
		version = os.Args[2]
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	nc, err := nats.Connect(os.Getenv("NATS_URL"))
	if err != nil {
		fatal(err)
	}
	defer nc.Close()
	s, err := micro.AddService(nc, micro.Config{
		Name: name, Version: version, Description: "Plays with words.", Metadata: map[string]string{"team": "letters"},
	})
	if err != nil {
		fatal(err)
	}
	defer s.Stop()
	add := func(endpoint string, answer micro.HandlerFunc, metadata map[string]string) {
		err := s.AddEndpoint(endpoint, answer, micro.WithEndpointSubject(name+"."+endpoint), micro.WithEndpointMetadata(metadata))
		if err != nil {
			fatal(err)
		}
	}
	add("echo", func(r micro.Request) {
		r.Respond(r.Data(), micro.WithHeaders(micro.Headers{"Color": r.Headers()["Color"]}))
	}, nil)
	add("upper", func(r micro.Request) { r.Respond([]byte(strings.ToUpper(string(r.Data())))) },
		map[string]string{"mayfly.http": "GET /upper/{word}", "mayfly.payload": "{word}", "mayfly.summary": "Shouts."})
	add("fail", func(r micro.Request) { r.Error("422", "no such word \x1b[31m"+string(r.Data()), nil) }, nil)
	if name == "Slow" {
		waiting := make(chan micro.Request, 1)
		add("wait", func(r micro.Request) {
			fmt.Printf("asked by call %s until %s\n", r.Headers().Get("Mayfly-Call"), r.Headers().Get("Mayfly-Deadline"))
			waiting <- r
		}, nil)
		add("release", func(r micro.Request) {
			(<-waiting).Respond([]byte("released\n"))
			r.Respond(nil)
		}, nil)
	}
	if err := nc.Flush(); err != nil {
		fatal(err)
	}
	fmt.Println("serving")
	<-signals
}

// natsServer is a program: natsserver URL [STORE], with JetStream if it has a store.
func natsServer() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	port, err := strconv.Atoi(os.Args[1][strings.LastIndex(os.Args[1], ":")+1:])
	if err != nil {
		fatal(err)
	}
	o := &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true}
	if len(os.Args) > 2 {
		o.JetStream, o.StoreDir = true, os.Args[2]
	}
	s, err := server.NewServer(o)
	if err != nil {
		fatal(err)
	}
	s.Start()
	fmt.Println(s.ClientURL())
	<-signals
	s.Shutdown()
	s.WaitForShutdown()
}

// get is a program: get URL prints the status and the body of an HTTP answer.
func get() {
	u, err := url.Parse(os.Args[1])
	if err != nil {
		fatal(err)
	}
	client := http.Client{Timeout: patience}
	answer, err := client.Get(u.String())
	if err != nil {
		fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		fatal(err)
	}
	fmt.Printf("%s\n%s\n", answer.Status, body)
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
