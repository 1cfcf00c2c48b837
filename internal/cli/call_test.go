package cli

import (
	"testing"
	"time"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/natstest"
)

// A function's node knows better what took so long, and so its error is the one to show.
func TestCallWaitsLongerThanTheFunctionsNode(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	nc := natstest.Connect(t, b)
	natstest.AddService(t, nc, "quick", "0.0.0", natstest.Endpoint{
		Name: mayfly.FunctionEndpoint, Subject: "fn.quick", Metadata: map[string]string{mayfly.MetaTimeout: "2s"},
	})
	natstest.AddService(t, nc, "plain", "0.0.0", natstest.Endpoint{Name: mayfly.FunctionEndpoint, Subject: "fn.plain"})
	for name, takes := range map[string]time.Duration{"quick": 2 * time.Second, "plain": time.Duration(mayfly.Limits{}.WithDefaults().Timeout)} {
		subject, wait, _, err := (&callVerb{First: &name}).target(t.Context(), &process{}, b)
		if err != nil || string(subject) != "fn."+name || wait <= takes {
			t.Errorf("%s: waits %s on %q, %v", name, wait, subject, err)
		}
	}
}
