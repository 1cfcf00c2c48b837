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

// A leash is the reading end of a named pipe that a fixture's processes hold open.
type leash struct {
	path   string
	pipe   *os.File
	reader *bufio.Reader
	hold   *os.File // keeps the pipe open until a program opens it
}

func newLeash(t *testing.T) *leash {
	t.Helper()
	l := &leash{path: filepath.Join(t.TempDir(), "leash")}
	if err := syscall.Mkfifo(l.path, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.pipe, err = os.OpenFile(l.path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		t.Fatal(err)
	}
	if l.hold, err = os.OpenFile(l.path, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	}
	l.reader = bufio.NewReader(l.pipe)
	t.Cleanup(func() {
		l.pipe.Close()
		l.hold.Close()
	})
	return l
}

// variable is the environment entry by which programs find the leash.
func (l *leash) variable() string { return "LEASH=" + l.path }

// awaitOpen waits until a program reports that it holds the leash.
func (l *leash) awaitOpen(t *testing.T) {
	t.Helper()
	l.deadline(t)
	if line, err := l.reader.ReadString('\n'); err != nil || line != "open\n" {
		t.Fatalf("the program did not open the leash: %q, %v", line, err)
	}
	l.hold.Close()
}

// awaitReleased waits until no program holds the leash.
func (l *leash) awaitReleased(t *testing.T) {
	t.Helper()
	l.deadline(t)
	l.hold.Close()
	for {
		if _, err := l.reader.ReadByte(); err != nil {
			if os.IsTimeout(err) {
				t.Fatalf("the leash is still held after %s", patience)
			}
			return
		}
	}
}

func (l *leash) deadline(t *testing.T) {
	t.Helper()
	if err := l.pipe.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
}
