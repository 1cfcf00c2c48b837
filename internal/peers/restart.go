package peers

import (
	"context"
	"encoding/json"
	"time"

	"github.com/mayfly-run/mayfly"
)

// restartTimeout limits how long a node waits for new instances. Those it has begun to
// replace go on after that.
const restartTimeout = 2 * time.Minute

func restartSubject(node string) string { return mayfly.SubjectNode + "." + node + ".restart" }

// A Restart asks a node to replace running instances: those of one unit, or those of all
// that use a secret, which was just set.
type Restart struct {
	V      int         `json:"v"`
	Name   string      `json:"name,omitempty"`
	Secret mayfly.Name `json:"secret,omitempty"`
}

// A Restarted is the answer for one unit that the node runs.
type Restarted struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`            // function or service
	Instances int    `json:"instances"`       // that were replaced, or are being replaced
	Error     string `json:"error,omitempty"` // why a new one did not start; the old ones stay
}

// A restartAnswer is the answer of a node. A unit that it does not run is not an error.
type restartAnswer struct {
	V     int         `json:"v"`
	Units []Restarted `json:"units"`
}

// Restart has a node replace running instances, one by one, and returns what it has done
// once they are ready.
func (p Peers) Restart(ctx context.Context, node string, r Restart) ([]Restarted, error) {
	r.V = Version
	question, err := json.Marshal(r)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "write JSON: %w", err)
	}
	data, err := p.ask(ctx, node, restartSubject(node), question, restartTimeout+askLonger)
	if err != nil {
		return nil, err
	}
	var answer restartAnswer
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "cannot parse the answer of node %s: %w", node, err).
			WithHint("compare its version with yours: mayfly nodes, mayfly version")
	}
	return answer.Units, nil
}
