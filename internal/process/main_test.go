//go:build unix

package process

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// The test binary also plays the processes that a shell cannot.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "reaper":
			exit(Reap(os.Stdin))
		case "node":
			exit(playNode(os.Args[2]))
		case "hungry":
			exit(playHungry(os.Args[2]))
		}
	}
	goleak.VerifyTestMain(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// playNode is a node that runs a shell script with our stdout, forever.
func playNode(script string) error {
	k, err := Open(context.Background(), Options{Reaper: []string{os.Args[0], "reaper"}})
	if err != nil {
		return err
	}
	_, err = k.Start(Spec{
		Args:   []string{"sh", "-c", script},
		Env:    environment("MAYFLY_INSTANCE=of-node-" + strconv.Itoa(os.Getpid())),
		Stdout: os.Stdout,
	})
	if err != nil {
		return err
	}
	select {}
}

// playHungry allocates that many MiB, reports it, and holds them until stdin ends.
func playHungry(mib string) error {
	n, err := strconv.Atoi(mib)
	if err != nil {
		return err
	}
	held := make([]byte, n<<20)
	for i := 0; i < len(held); i += 512 {
		held[i] = 1
	}
	fmt.Println("full")
	_, _ = os.Stdin.Read(held[:1])
	return nil
}

func environment(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH")}, more...)
}
