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

// newest returns one instance of each node, of those heard last; rather another than the
// one that is asked.
func newest(known map[key]*instance) map[*node]key {
	some := map[*node]key{}
	for at, in := range known {
		if in.node == nil {
			continue
		}
		have, there := some[in.node]
		if !there || in.round > known[have].round || in.round == known[have].round && have == in.node.at {
			some[in.node] = at
		}
	}
	return some
}

// represent drops nodes without functions, and has each other asked at one that it runs.
func (d *Directory) represent(known map[key]*instance) {
	some := newest(known)
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

// beat asks all nodes, and reports whether one has fallen silent since the last time. One
// that has not answered is asked at another instance: the first may have been replaced. If
// that was heard later, the silence does not count yet.
func (d *Directory) beat(known map[key]*instance) (changed bool) {
	if len(d.nodes) < 2 {
		return false // there is no other node to call
	}
	var some map[*node]key // found if needed
	for _, n := range d.nodes {
		replaced := false
		if n.asked {
			if some == nil {
				some = newest(known)
			}
			replaced = n.move(some, known)
		}
		if n.asked && !n.silent && !replaced {
			n.silent, changed = true, true
			d.log.Warn("node does not answer, calls go to others", "node", n.id)
		}
		n.asked = true
		d.check(n.at)
	}
	return changed
}

// move has a node asked at one of some, and reports whether that was heard later than the one
// before.
func (n *node) move(some map[*node]key, known map[key]*instance) (later bool) {
	at, there := some[n]
	if !there {
		return false
	}
	before := known[n.at]
	n.at = at
	return before != nil && known[at].round > before.round
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
