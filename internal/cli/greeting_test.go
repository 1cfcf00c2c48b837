package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/node"
)

// Functions come and go by the thousand, and are not counted as services.
func TestGreetingAndChangesAreOfServicesAlone(t *testing.T) {
	t.Parallel()
	function := mayfly.Service{Name: "hello", ID: "1", Version: "1.0.3", Endpoints: []mayfly.Endpoint{{Name: "call", Subject: "fn.hello"}}}
	words := mayfly.Service{Name: "Words", ID: "2", Version: "1.0.0", Endpoints: []mayfly.Endpoint{{Name: "echo", Subject: "Words.echo"}}}
	var out bytes.Buffer
	p := &process{stdout: &out}
	p.tell(node.Change{Service: function})
	p.tell(node.Change{Service: words})
	p.tell(node.Change{Service: function, Gone: true})
	if got, want := out.String(), "+ Words 1.0.0 (2) Words.echo\n"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	out.Reset()
	p.greet(node.Status{Services: []mayfly.Service{function, words}})
	if !strings.Contains(out.String(), "  services  1 instance: mayfly list\n") {
		t.Errorf("greeting:\n%s", &out)
	}
}
