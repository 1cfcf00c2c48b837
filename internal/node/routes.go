package node

import (
	"encoding/json"

	"github.com/mayfly-run/mayfly/internal/gateway"
)

// A RouteListing is one route in a node's answer to mayfly.SubjectRoutes, which is
// a JSON array of them: those in force first, in the order of precedence.
type RouteListing struct {
	Node     string `json:"node"`
	Pattern  string `json:"pattern"`
	Target   string `json:"target"`
	Name     string `json:"name"`
	Origin   string `json:"origin"`             // "project shop" or "metadata"
	Shadowed string `json:"shadowed,omitempty"` // why it is not in force
}

// listRoutes answers mayfly.SubjectRoutes. With very many routes the list is cut
// to what one message holds.
func (n *Node) listRoutes() []byte {
	active, shadowed := n.gateway.Routes()
	list := make([]RouteListing, 0, len(active)+len(shadowed))
	for _, r := range active {
		list = append(list, n.listRoute(gateway.Shadowed{Route: r}))
	}
	for _, s := range shadowed {
		list = append(list, n.listRoute(s))
	}
	for {
		data, err := json.Marshal(list)
		if err == nil && int64(len(data)) < n.bus.MaxPayload()-1024 {
			return data
		}
		list = list[:len(list)/2]
	}
}

func (n *Node) listRoute(s gateway.Shadowed) RouteListing {
	l := RouteListing{
		Node: n.folder.identity.Server, Pattern: s.Pattern.String(), Target: s.Target(), Name: s.Name,
		Origin: "metadata", Shadowed: s.Reason,
	}
	if s.Project != "" {
		l.Origin = "project " + string(s.Project)
	}
	return l
}
