//go:build unix

package exec_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/runner/enginetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	programs := map[string]func(){
		"program": func() { play(false) },
		"cgi":     func() { play(true) },
	}
	if !enginetest.Play(programs) {
		goleak.VerifyTestMain(m)
	}
}

// play is the program of the conformance suite.
func play(cgi bool) {
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
		defer enginetest.OpenLeash(os.Getenv("LEASH")).Close()
		for x := bytes.Repeat([]byte("x"), 4096); ; {
			if _, err := os.Stdout.Write(x); err != nil {
				return
			}
		}
	case "/hang":
		defer enginetest.OpenLeash(os.Getenv("LEASH")).Close()
		<-time.After(time.Hour)
	case "/crash":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "/child":
		enginetest.StartChild(os.Getenv("LEASH"))
		fmt.Print("born")
	}
}
