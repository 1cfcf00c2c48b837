package natstest

import (
	"slices"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/internal/config"
)

// Require is called by a test that needs something which not every machine has.
// With a missing thing it skips the test and says how to get it; but where the
// variable MAYFLY_REQUIRE lists the need (comma-separated), as CI does, the test
// fails: there a skipped test is a test that nobody runs.
func Require(t testing.TB, need string, missing error, remedy string) {
	t.Helper()
	if missing == nil {
		return
	}
	list, _ := config.Lookup(config.Environ())("MAYFLY_REQUIRE")
	required := slices.ContainsFunc(strings.Split(list, ","), func(s string) bool { return strings.TrimSpace(s) == need })
	if required {
		t.Fatalf("%s is required but missing: %v; %s", need, missing, remedy)
	}
	t.Skipf("needs %s: %v; %s", need, missing, remedy)
}
