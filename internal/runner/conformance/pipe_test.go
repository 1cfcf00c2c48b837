//go:build unix

package conformance

import (
	"bufio"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute // for what takes milliseconds

// A pipe is the reading end of a named one that a fixture's processes hold open.
type pipe struct {
	path   string
	read   *os.File
	reader *bufio.Reader
	hold   *os.File // keeps the pipe open until a program opens it
}

func newPipe(t *testing.T) *pipe {
	t.Helper()
	l := &pipe{path: filepath.Join(t.TempDir(), "pipe")}
	if err := syscall.Mkfifo(l.path, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.read, err = os.OpenFile(l.path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	if l.hold, err = os.OpenFile(l.path, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	l.reader = bufio.NewReader(l.read)
	t.Cleanup(func() {
		l.read.Close()
		l.hold.Close()
	})
	return l
}

// variable is the environment entry by which programs find the pipe.
func (l *pipe) variable() string { return "PIPE=" + l.path }

// awaitOpen waits until a program reports that it holds the pipe.
func (l *pipe) awaitOpen(t *testing.T) {
	t.Helper()
	l.deadline(t)
	if line, err := l.reader.ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("the program did not open the pipe: %q, %v", line, err)
	}
	l.hold.Close()
}

// awaitClosed waits until no program holds the pipe.
func (l *pipe) awaitClosed(t *testing.T) {
	t.Helper()
	l.deadline(t)
	l.hold.Close()
	for {
		if _, err := l.reader.ReadByte(); err != nil {
			if os.IsTimeout(err) {
				t.Fatalf("the pipe is still held after %s", patience)
			}
			return
		}
	}
}

func (l *pipe) deadline(t *testing.T) {
	t.Helper()
	if err := l.read.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}
