package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/bus"
)

const (
	metaStream     = "KV_mayfly_meta"
	registryStream = "KV_mayfly_registry"
)

// known returns an inventory that has seen ten messages in two streams, and a later view.
func known() (*Inventory, view) {
	created := time.Unix(1, 0)
	hold := func() record {
		return record{V: version, Streams: map[string]*holding{
			metaStream:     {Last: 10, Messages: 10, Keys: map[string]value{"format": {10, "x"}}},
			registryStream: {Last: 10, Messages: 10, Keys: map[string]value{"function/a": {10, "x"}}},
		}}
	}
	extents := func() map[string]bus.Extent {
		e := bus.Extent{Created: created, First: 1, Last: 10, Messages: 10}
		return map[string]bus.Extent{metaStream: e, registryStream: e}
	}
	return &Inventory{record: hold(), last: view{hold(), extents(), nil}}, view{hold(), extents(), map[string]error{}}
}

// miss makes a view one that could not look at a stream.
func (v view) miss(stream string) {
	delete(v.Streams, stream)
	delete(v.seen, stream)
	v.missed[stream] = errors.New("timeout")
}

// shrink makes a view one that finds a stream without its last message.
func (v view) shrink(stream string) {
	v.Streams[stream] = &holding{Last: 9, Messages: 9, Keys: map[string]value{}}
	e := v.seen[stream]
	e.Last, e.Messages = 9, 9
	v.seen[stream] = e
}

func TestStreamThatIsNotLookedAtKeepsItsLosses(t *testing.T) {
	t.Parallel()
	i, v := known()
	v.miss(registryStream)
	losses := []Loss{{Stream: metaStream, Key: "format"}, {Stream: registryStream, Key: "function/a"}}
	if left := i.left(v, losses, false); len(left) != 1 || left[0] != losses[1] {
		t.Errorf("left are %v", left)
	}
	if i.record.Streams[registryStream] == nil {
		t.Error("the record of the stream is gone")
	}
}

func TestRecordWithoutKeysFollowsTheStream(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "store.json")
	if err := os.WriteFile(file, []byte(`{"v":1,"streams":{"`+registryStream+`":{"last":9,"messages":9}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	i, v := known()
	var err error
	if i.record, err = load(file); err != nil {
		t.Fatal(err)
	}
	v.Streams[registryStream].Keys["function/a"] = value{11, "y"}
	i.settle(v)
	if got := i.record.Streams[registryStream].Keys["function/a"]; got != (value{11, "y"}) {
		t.Errorf("the record has %v", got)
	}
}

func TestStreamSeenForTheFirstTimeIsCompared(t *testing.T) {
	t.Parallel()
	i, v := known()
	delete(i.last.seen, registryStream)
	v.shrink(registryStream)
	if left := i.left(v, []Loss{{Stream: registryStream}}, false); len(left) != 1 || left[0].Key != "function/a" {
		t.Errorf("left are %v", left)
	}
}

// While a node runs, its operator may replace a stream; a restart of JetStream that loses
// something is not that.
func TestRestartOfJetStreamSettlesNothing(t *testing.T) {
	t.Parallel()
	for restarted, want := range map[bool]int{false: 0, true: 1} {
		i, v := known()
		v.shrink(registryStream)
		if left := i.left(v, nil, restarted); len(left) != want {
			t.Errorf("restarted %v: left are %v", restarted, left)
		}
	}
}

// A value that can no longer be read is lost, also where nothing else is.
func TestUnreadableValueIsComparedWhileTheNodeRuns(t *testing.T) {
	t.Parallel()
	i, v := known()
	v.Streams[registryStream].Keys = map[string]value{}
	v.Streams[registryStream].Unread = []string{"function/a"}
	if left := i.left(v, nil, false); len(left) != 1 || left[0].Key != "function/a" {
		t.Errorf("left are %v", left)
	}
}
