//go:build fire && unix

package node_test

import (
	"syscall"
	"testing"
)

func TestFireRollingRestartFailsNoCall(t *testing.T) { rollNodes(t, 500, 20) }

func TestFireDeadNodeCostsItsCallsAlone(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		t.Run(s.String(), func(t *testing.T) {
			measured(t, func() []string { return loseNode(t, s, 500) })
		})
	}
}
