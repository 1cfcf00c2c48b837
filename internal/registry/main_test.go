package registry_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Each step of a round waits for the disk, which others may keep busy. The
	// command line's -rapid.checks still counts.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	// nats.go 1.55.0 starts this goroutine for each upload. Where the upload is done
	// before it has run for the first time, it finds nothing to wait for, and waits.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}
