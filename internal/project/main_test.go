package project_test

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/natstest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	natstest.DirectPython()
	goleak.VerifyTestMain(m)
}
