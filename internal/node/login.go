package node

import (
	"strings"
	"sync"

	"github.com/mayfly-run/mayfly"
)

// A logins notices instances that a secured NATS server turns away: what their client
// libraries print does not say where Mayfly takes a login from.
type logins struct{ told sync.Map } // the last instance, by function

// denials are what clients of NATS print, in lower case.
var denials = []string{"authorization violation", "authorization_violation", "authentication required"}

// advice returns a line of Mayfly's own that follows l, once per instance.
func (o *logins) advice(l mayfly.Line) (mayfly.Line, bool) {
	if l.Source == mayfly.System || !denied(l.Text) {
		return l, false
	}
	if last, _ := o.told.Swap(l.Function, l.Instance); last == l.Instance {
		return l, false
	}
	l.Source, l.Call = mayfly.System, ""
	l.Text = "the NATS server asks for a login: `mayfly secret set NAME < user.creds`, and in mayfly.yaml `creds: NAME` for " + l.Function + "; NATS_CREDS is then the file to connect with"
	return l, true
}

func denied(text string) bool {
	const most = 4 << 10 // longer lines are data
	if len(text) > most || !strings.Contains(text, "uth") && !strings.Contains(text, "AUTH") {
		return false
	}
	text = strings.ToLower(text)
	for _, d := range denials {
		if strings.Contains(text, d) {
			return true
		}
	}
	return false
}
