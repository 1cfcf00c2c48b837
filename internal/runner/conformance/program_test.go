//go:build unix

package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/fn"
	"github.com/mayfly-run/mayfly/internal/process"
	"go.uber.org/goleak"
)

// programs are what the test binary can be, by its first argument.
var programs = map[string]func(){
	"link":    func() { must(fn.Serve(http.HandlerFunc(answer))) },
	"socket":  func() { serve("unix", os.Getenv(mayfly.EnvSocket)) },
	"port":    func() { serve("tcp", "127.0.0.1:"+os.Getenv("PORT")) },
	"script":  func() { script(false) },
	"cgi":     func() { script(true) },
	"service": serviceProgram,
	"broken":  fail,
	"silent":  hang,
	"child":   child,
	"reaper":  func() { must(process.Reap(os.Stdin)) },
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && programs[os.Args[1]] != nil {
		programs[os.Args[1]]()
		return
	}
	goleak.VerifyTestMain(m)
}

func program(name string) mayfly.Program {
	return mayfly.Program{Start: []string{os.Args[0], name}}
}

// environment is what programs need; -race builds must exit at once.
func environment() []string { return []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"} }

func serve(network, address string) {
	l, err := net.Listen(network, address)
	must(err)
	_ = http.Serve(l, http.HandlerFunc(answer))
}

// answer is the program of engine http.
func answer(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	switch r.URL.Path {
	case "/echo":
		_ = control.EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	case "/where":
		fmt.Fprintf(w, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
	case "/header":
		fmt.Fprint(w, r.Header.Get("X-Ask"))
	case "/reply":
		w.Header().Set("X-Fixture", "yes")
		w.WriteHeader(201)
		fmt.Fprint(w, "made")
	case "/say":
		fmt.Fprintln(os.Stderr, "to stderr")
		fmt.Fprintln(os.Stdout, "to stdout")
		fmt.Fprint(w, "said")
	case "/deaf":
		_ = control.EnableFullDuplex() // else net/http reads first
		fmt.Fprint(w, "deaf")
	case "/duplex":
		_ = control.EnableFullDuplex()
		fmt.Fprint(w, "first\n")
		_ = control.Flush()
		for buf := make([]byte, 4096); ; {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = control.Flush()
			if err != nil {
				return
			}
		}
	case "/hang":
		_, _ = io.Copy(io.Discard, r.Body)
		defer openPipe().Close()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	default:
		answerAlike(w, r.URL.Path)
	}
}

// script is the program of engine exec.
func script(cgi bool) {
	path := os.Getenv("PATH_INFO")
	if cgi && path != "/hang" && path != "/crash" {
		if path == "/reply" {
			fmt.Print("Status: 201 Created\r\nX-Fixture: yes\r\n")
		}
		fmt.Print("Content-Type: text/plain\r\n\r\n")
	}
	switch path {
	case "/echo":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "/where":
		fmt.Printf("%s\n%s\n%s\n", os.Getenv("REQUEST_METHOD"), path, os.Getenv("QUERY_STRING"))
	case "/header":
		fmt.Print(os.Getenv("HTTP_X_ASK"))
	case "/reply":
		fmt.Print("made")
	case "/say":
		fmt.Fprintln(os.Stderr, "to stderr")
		fmt.Print("said")
	case "/deaf":
		fmt.Print("deaf")
	case "/duplex":
		fmt.Print("first\n")
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "/hang":
		hang()
	default:
		answerAlike(os.Stdout, path)
	}
}

// answerAlike implements the paths that are the same for all.
func answerAlike(w io.Writer, path string) {
	switch path {
	case "/env":
		fmt.Fprint(w, strings.Join(os.Environ(), "\x00")+"\x00")
	case "/big":
		_, _ = w.Write(bytes.Repeat([]byte("x"), 8<<20))
	case "/endless":
		defer openPipe().Close()
		for x := bytes.Repeat([]byte("x"), 4096); ; {
			if _, err := w.Write(x); err != nil {
				return
			}
		}
	case "/crash":
		fail()
	case "/child":
		startChild()
		fmt.Fprint(w, "born")
	}
}

// serviceProgram is the program of engine service.
func serviceProgram() {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	for _, entry := range os.Environ() {
		fmt.Println(entry)
	}
	fmt.Fprintln(os.Stderr, "to stderr")
	if os.Getenv("CRASH") != "" {
		fail()
	}
	if os.Getenv("PIPE") != "" {
		startChild()
	}
	fmt.Println("ready")
	<-terms
}

func fail() {
	fmt.Fprintln(os.Stderr, "last words")
	os.Exit(3)
}

func hang() {
	defer openPipe().Close()
	<-time.After(time.Hour)
}

// openPipe opens the pipe of the program and reports that on it.
func openPipe() *os.File {
	pipe, err := os.OpenFile(os.Getenv("PIPE"), os.O_WRONLY, 0)
	must(err)
	fmt.Fprintln(pipe, "open")
	return pipe
}

// startChild implements /child: when it returns, the child is running.
func startChild() {
	cmd := exec.Command(os.Args[0], "child")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	_, err = io.Copy(io.Discard, out)
	must(err)
}

func child() {
	signal.Ignore(syscall.SIGTERM)
	defer openPipe().Close()
	os.Stdout.Close()
	<-time.After(time.Hour)
}

// must ends a program that cannot provide what a test needs.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
