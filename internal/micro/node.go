package micro

import (
	"slices"
	"time"

	"github.com/mayfly-run/mayfly"
)

// beatLeast is the pause between two questions to a node, for few nodes; many are asked
// less often, like services. A node that does not answer in that time is silent.
const beatLeast = time.Second

// doubtFor is how long a function whose call fell silent is called on nodes that answer.
const doubtFor = 30 * time.Second

// A node is one of Mayfly's, known by its functions. One that freezes stays subscribed
// until NATS drops it minutes later, and takes its share of the calls. So each node is
// asked often, and while one is silent, callers address the others: see Picture.Reach.
type node struct {
	id     string
	at     key  // one of its functions, which is asked
	asked  bool // and has not answered
	silent bool
}

// nodeOf returns the node that runs a service, or nil if it is not a function that names
// its node.
func (d *Directory) nodeOf(s mayfly.Service) *node {
	id := s.Metadata[mayfly.MetaNode]
	if _, err := mayfly.ParseSubject(mayfly.FunctionSubjectAt(mayfly.Name(s.Name), id)); err != nil || !validName(id) || !isFunction(s) {
		return nil
	}
	n := d.nodes[id]
	if n == nil {
		n = &node{id: id}
		d.nodes[id] = n
	}
	return n
}

func isFunction(s mayfly.Service) bool {
	return slices.ContainsFunc(s.Endpoints, func(e mayfly.Endpoint) bool {
		return e.Subject == mayfly.FunctionSubject(mayfly.Name(s.Name))
	})
}

// represent drops nodes without functions, and has each other asked at one that it runs.
func (d *Directory) represent(known map[key]*instance) {
	some := map[*node]key{}
	for at, in := range known {
		if in.node != nil {
			some[in.node] = at
		}
	}
	for id, n := range d.nodes {
		at, there := some[n]
		switch {
		case !there:
			delete(d.nodes, id)
		case known[n.at] == nil || known[n.at].node != n:
			n.at, n.asked = at, false
		}
	}
}

// beat asks all nodes, and reports whether one has fallen silent since the last time.
func (d *Directory) beat() (changed bool) {
	if len(d.nodes) < 2 {
		return false // there is no other node to call
	}
	for _, n := range d.nodes {
		if n.asked && !n.silent {
			n.silent, changed = true, true
			d.log.Warn("node does not answer, calls go to others", "node", n.id)
		}
		n.asked = true
		d.check(n.at)
	}
	return changed
}

// answered notes that a node has answered, and reports whether it was silent.
func (d *Directory) answered(n *node) bool {
	if n == nil {
		return false
	}
	n.asked = false
	if !n.silent {
		return false
	}
	n.silent = false
	d.log.Info("node answers again", "node", n.id)
	return true
}

// Doubt notes that a call of a function fell silent on an unknown node, perhaps one that
// froze before we could learn of it.
func (d *Directory) Doubt(function mayfly.Name) {
	select {
	case d.doubts <- function:
	default: // the next silent call tells it again
	}
}

// trust ends doubts that are old, and reports whether there were any.
func (d *Directory) trust() (changed bool) {
	for name, at := range d.doubted {
		if time.Since(at) > doubtFor {
			delete(d.doubted, name)
			changed = true
		}
	}
	return changed
}
