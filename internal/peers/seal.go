package peers

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/json"

	"github.com/mayfly-run/mayfly"
)

// A sealed question can be read only by the node it is for (RFC 9180): the function in it
// has the values of env. That stops eavesdroppers, not a client that can answer as a node.
type sealed struct {
	V      int    `json:"v"`
	Sealed []byte `json:"sealed"`
}

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// prepareQuestion returns the question that has n start f. A node of the build before has
// no key and gets the function unsealed.
func prepareQuestion(n Node, f mayfly.Unit) ([]byte, error) {
	plain, err := json.Marshal(f)
	if err != nil || len(n.Key) == 0 {
		return plain, err
	}
	key, err := kem().NewPublicKey(n.Key)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "node %s has an invalid key: %w", n.ID, err).
			WithHint("compare its version with yours: mayfly nodes, mayfly version")
	}
	box, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(prepareSubject(n.ID)), plain)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "seal the question to node %s: %w", n.ID, err)
	}
	return json.Marshal(sealed{V: Version, Sealed: box})
}

// parsePrepare reads a question, sealed for the key or, from the build before, plain.
func parsePrepare(node string, key hpke.PrivateKey, data []byte) (f mayfly.Unit, err error) {
	var q sealed
	if err := json.Unmarshal(data, &q); err != nil {
		return f, mayfly.Errorf(mayfly.Invalid, "the request is not JSON: %w", err)
	}
	if q.V > Version {
		return f, mayfly.Errorf(mayfly.Unavailable, "the request has format %d, and node %s knows formats up to %d", q.V, node, Version).
			WithHint("update the node; run mayfly nodes to see the version of each")
	}
	if len(q.Sealed) > 0 {
		data, err = hpke.Open(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(prepareSubject(node)), q.Sealed)
		if err != nil {
			return f, mayfly.Errorf(mayfly.Unavailable, "node %s restarted, and its key has changed", node).
				WithHint("deploy again")
		}
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, mayfly.Errorf(mayfly.Invalid, "the request is not a function: %w", err)
	}
	if f.Name == "" {
		return f, mayfly.Errorf(mayfly.Invalid, "the request names no function")
	}
	return f, nil
}
