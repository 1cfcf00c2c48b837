//go:build unix

package exec_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/process"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "reaper":
			if process.Reap(os.Stdin) != nil {
				os.Exit(1)
			}
			return
		case "program", "cgi", "child":
			play(os.Args[1])
			return
		}
	}
	goleak.VerifyTestMain(m)
}

// play is the program of the conformance suite.
func play(role string) {
	if role == "child" {
		signal.Ignore(syscall.SIGTERM)
		openLeash()
		fmt.Println("up")
		os.Stdout.Close()
		<-time.After(time.Hour)
	}
	path := os.Getenv("PATH_INFO")
	if role == "cgi" && path != "/hang" && path != "/crash" {
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
	case "/nothing":
	case "/env":
		fmt.Print(strings.Join(os.Environ(), "\x00") + "\x00")
	case "/big":
		_, _ = os.Stdout.Write(bytes.Repeat([]byte("x"), 8<<20))
	case "/say":
		fmt.Fprintln(os.Stderr, "to stderr")
		fmt.Print("said")
	case "/deaf":
		fmt.Print("deaf")
	case "/duplex":
		fmt.Print("first\n")
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "/endless":
		fmt.Fprintln(openLeash(), "open")
		for x := bytes.Repeat([]byte("x"), 4096); ; {
			if _, err := os.Stdout.Write(x); err != nil {
				return
			}
		}
	case "/hang":
		fmt.Fprintln(openLeash(), "open")
		<-time.After(time.Hour)
	case "/crash":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "/child":
		child := exec.Command(os.Args[0], "child")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err == nil {
			_, err = io.Copy(io.Discard, out) // ends when it is up
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(openLeash(), "open")
		fmt.Print("born")
	}
}

func openLeash() *os.File {
	f, err := os.OpenFile(os.Getenv("LEASH"), os.O_WRONLY, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return f
}
