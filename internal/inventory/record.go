package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// A record is what the store should hold.
type record struct {
	V       int                 `json:"v"`
	Streams map[string]*holding `json:"streams"`
}

// A holding is what one stream should hold.
type holding struct {
	Last     uint64           `json:"last"`     // sequence number
	Messages uint64           `json:"messages"` // values and older ones
	Keys     map[string]value `json:"keys"`
	Unread   []string         `json:"unread,omitempty"` // keys whose value cannot be read; in a record, and that is accepted
}

// readable returns the holding without the keys whose value cannot be read.
func (h *holding) readable() *holding {
	return &holding{Last: h.Last, Messages: h.Messages, Keys: h.Keys}
}

// A value is the newest one of a key.
type value struct {
	Seq uint64 `json:"seq"`
	Sum string `json:"sum"` // first half of the sha256
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:sha256.Size/2])
}

// version is the v of the records we write.
const version = 1

// load reads a record; without a file it is empty.
func load(file string) (record, error) {
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return record{}, nil
	}
	var r record
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.V > version {
		err = fmt.Errorf("it has version %d, this Mayfly knows %d", r.V, version)
	}
	if err != nil {
		return record{}, err
	}
	maps.DeleteFunc(r.Streams, func(_ string, h *holding) bool { return h == nil })
	for _, h := range r.Streams {
		if h.Keys == nil {
			h.Keys = map[string]value{}
		}
	}
	return r, nil
}

// A Loss is something that the store should hold and does not.
type Loss struct {
	Stream string
	Key    string // "" for the stream as a whole
	Why    string
}

// compare returns what is missing now: keys by name, then old values.
func (r record) compare(now record) (losses []Loss) {
	for _, s := range streams {
		there := now.Streams[s.name]
		if there == nil {
			continue // not looked at
		}
		should := r.Streams[s.name]
		for _, key := range there.Unread {
			if should == nil || !slices.Contains(should.Unread, key) {
				losses = append(losses, Loss{s.name, key, s.name + ": the value of " + key + " cannot be read"})
			}
		}
		if should == nil {
			continue
		}
		found := len(losses)
		for _, key := range slices.Sorted(maps.Keys(should.Keys)) {
			want, have := should.Keys[key], there.Keys[key]
			switch {
			case slices.Contains(there.Unread, key):
			case have.Seq == 0:
				losses = append(losses, Loss{s.name, key, s.name + ": " + key + " is missing"})
			case have.Seq < want.Seq:
				losses = append(losses, Loss{s.name, key, fmt.Sprintf("%s: %s is at an older revision (message %d, expected %d)", s.name, key, have.Seq, want.Seq)})
			case have.Seq == want.Seq && have.Sum != want.Sum:
				losses = append(losses, Loss{s.name, key, fmt.Sprintf("%s: %s differs from the recorded value (message %d)", s.name, key, want.Seq)})
			}
		}
		if len(losses) > found {
			continue
		}
		switch {
		case there.Last < should.Last:
			losses = append(losses, Loss{s.name, "", fmt.Sprintf("%s: it ends at message %d, expected %d", s.name, there.Last, should.Last)})
		case s.chunks: // an aborted upload purges its own
		case there.Last == should.Last && there.Messages < should.Messages:
			losses = append(losses, Loss{s.name, "", fmt.Sprintf("%s: %d of %d messages are missing", s.name, should.Messages-there.Messages, should.Messages)})
		}
	}
	return losses
}

// most is how many losses an error names.
const most = 5

// Lost returns the error that losses are, or nil without any.
func Lost(losses []Loss) error {
	if len(losses) == 0 {
		return nil
	}
	var each []string
	for _, l := range losses[:min(most, len(losses))] {
		each = append(each, l.Why)
	}
	text := strings.Join(each, "; ")
	if more := len(losses) - len(each); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return mayfly.Errorf(mayfly.Unavailable, "the store is damaged: %s", text).
		WithHint("restore a backup, or deploy what is missing again; mayfly doctor lists everything, mayfly doctor --accept accepts the store's current contents")
}
