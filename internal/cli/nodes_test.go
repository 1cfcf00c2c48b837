package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mayfly-run/mayfly/internal/node"
)

// Who is on the bus must not choose which subjects we ask.
func TestNodesWithoutAProperIDAreSkipped(t *testing.T) {
	t.Parallel()
	got := parseListed(answers(
		`{"node":"b","platform":"linux/arm64"}`, `{"node":"a","platform":"linux/amd64","labels":{"zone":"eu"}}`, `{"node":"b"}`,
		`{"node":"a.b"}`, `{"node":"a b\r\nPUB x 0"}`, `{"node":">"}`, `{"node":""}`, `{"node":7}`, `not JSON`, ``,
	))
	want := []node.Listed{
		{Node: "a", Platform: "linux/amd64", Labels: map[string]string{"zone": "eu"}},
		{Node: "b", Platform: "linux/arm64"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
