package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// The key of an entry is a kind, a slash and a name. Two of the kinds are units.
const keyRoute = "route/"

// kinds are the kinds of units, the most common first.
var kinds = []mayfly.Kind{mayfly.KindFunction, mayfly.KindService}

func keyOf(kind mayfly.Kind, name mayfly.Name) string { return kind.String() + "/" + string(name) }

// kindOf returns the kind of the unit under a key, and whether the key is a unit's.
func kindOf(key string) (mayfly.Kind, bool) {
	for _, kind := range kinds {
		if strings.HasPrefix(key, kind.String()+"/") {
			return kind, true
		}
	}
	return 0, false
}

const (
	// version is the v of entries we write. An entry with a greater v is neither read
	// nor overwritten.
	version = 1

	// maxEntry bounds an entry's bytes: 32 values of each are kept, and one must fit in
	// a message of any server.
	maxEntry = 256 << 10
)

// An entry is one value of the registry: our head and the deployed settings, side by
// side in one JSON object. The settings stay raw here, so that fields of a newer Mayfly
// survive.
type entry struct {
	head
	kind     mayfly.Kind                // of a unit
	settings map[string]json.RawMessage // to be written: all fields except the head's
	data     []byte                     // as read: the stored JSON object
	thing    any                        // as read: what is deployed, without Scaled; nil if not parsed yet
	kv       uint64                     // the key's revision, not the deployed one; 0 if there is none
	broken   error                      // why the newest value cannot be read: the rest is that of the last good one, if any
}

// A head holds the registry's own fields of an entry. A unit has the first two as well.
type head struct {
	Revision uint64      `json:"revision"`
	Project  mayfly.Name `json:"project,omitempty"`
	note
}

type note struct {
	V        int             `json:"v"`
	Removed  bool            `json:"removed,omitempty"` // a tombstone: it keeps the last revision's number
	Deployed time.Time       `json:"deployed,omitzero"`
	By       string          `json:"by,omitempty"`
	Note     string          `json:"note,omitempty"`
	From     uint64          `json:"from,omitempty"`   // revision rolled back to
	Scaled   json.RawMessage `json:"scaled,omitempty"` // instead of the setting "instances", until the next deploy
}

// live reports whether something is deployed under the key now.
func (e entry) live() bool { return e.kv != 0 && !e.Removed }

// decode parses an entry. Unreadable settings are not an error: they can be deployed
// again. Errors have code Invalid.
func decode(key string, data []byte, kv uint64) (entry, error) {
	e := entry{data: data, kv: kv}
	e.kind, _ = kindOf(key)
	err := e.read(key)
	if err == nil && e.V > version {
		return e, mayfly.Errorf(mayfly.Invalid, "%s was written by a newer Mayfly: its entry has version %d, this one knows %d", key, e.V, version).
			WithHint("upgrade this Mayfly")
	}
	if err == nil && string(bytes.TrimSpace(data)) == "null" {
		err = errors.New("it is null")
	}
	if err != nil {
		return e, senseless(key, err)
	}
	return e, nil
}

func senseless(key string, why error) error {
	return mayfly.Errorf(mayfly.Invalid, "cannot read the registry's entry %s: %w", key, why).
		WithHint("deploy it again, or look at it with nats kv get %s %s", mayfly.BucketRegistry, key)
}

// read parses the data. Nearly all of thousands of entries are functions, so it tries
// that first, in one pass.
func (e *entry) read(key string) error {
	if strings.HasPrefix(key, keyOf(mayfly.KindFunction, "")) {
		type function mayfly.Unit // without UnmarshalJSON, which would hide the note
		var f struct {
			note
			function
		}
		if json.Unmarshal(e.data, &f) == nil {
			e.head = head{Revision: f.Revision, Project: f.Project, note: f.note}
			e.thing = mayfly.Unit(f.function)
			return nil
		}
	}
	return json.Unmarshal(e.data, &e.head)
}

// present returns the settings of an entry as read, or none without an entry.
func (e entry) present() map[string]json.RawMessage {
	var settings map[string]json.RawMessage
	_ = json.Unmarshal(e.data, &settings) // decode checked that it is an object
	maps.DeleteFunc(settings, func(name string, _ json.RawMessage) bool { return headFields[name] })
	return settings
}

// encode returns the entry as it is stored.
func (e entry) encode() ([]byte, error) {
	all, err := fieldsOf(e.head)
	if err != nil {
		return nil, err
	}
	maps.Copy(all, e.settings)
	data, err := json.Marshal(all)
	if err == nil && len(data) > maxEntry {
		err = mayfly.Errorf(mayfly.Invalid, "the settings have %d bytes, at most %d are allowed", len(data), maxEntry).
			WithHint("put large values of env and metadata into files of the code")
	}
	return data, err
}

// bundles returns the digests that an entry, as read, references.
func (e entry) bundles() (map[string]string, error) {
	if e.data == nil {
		return nil, nil // deleted with another tool
	}
	var named struct {
		Bundles map[string]string `json:"bundles"`
	}
	err := json.Unmarshal(e.data, &named)
	return named.Bundles, err
}

// A thing is anything that can be deployed.
type thing interface {
	mayfly.Unit | route
}

// thingOf returns what an entry, as read, holds, with its scaling applied.
func thingOf[T thing](e entry) (t T, err error) {
	if t, ok := e.thing.(T); ok && e.Scaled == nil {
		return t, nil
	}
	data := e.data
	if e.Scaled != nil {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(data, &fields); err != nil {
			return t, err
		}
		fields["instances"] = e.Scaled
		if data, err = json.Marshal(fields); err != nil {
			return t, err
		}
	}
	if u, ok := any(&t).(*mayfly.Unit); ok {
		u.Kind = e.kind
	}
	err = json.Unmarshal(data, &t)
	return t, err
}

// settingsOf returns the settings of t, each in the one form in which it is stored.
func settingsOf[T thing](t T) (map[string]json.RawMessage, error) {
	fields, err := fieldsOf(t)
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool { return headFields[name] })
	return fields, err
}

// sameSettings reports whether e is deployed with exactly these settings. It ignores
// fields of a newer Mayfly, which would be kept. A broken entry is never the same.
func sameSettings[T thing](e entry, settings map[string]json.RawMessage) bool {
	if e.broken != nil {
		return false
	}
	e.Scaled = nil
	deployed, err := thingOf[T](e)
	if err != nil {
		return false
	}
	present, err := settingsOf(deployed)
	return err == nil && maps.EqualFunc(present, settings, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}

// withUnknown returns the settings plus those of old that T has no field for.
func withUnknown[T thing](settings, old map[string]json.RawMessage) map[string]json.RawMessage {
	known := namesOf(reflect.TypeFor[T]())
	all := maps.Clone(settings)
	for name, value := range old {
		if !known[name] {
			all[name] = value
		}
	}
	return all
}

// headFields are the names that the head has in an entry; they never change.
var headFields = namesOf(reflect.TypeFor[head]())

// namesOf returns the names that a struct's fields have in JSON, those of embedded
// structs included.
func namesOf(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names[name] = true
		}
	}
	return names
}

// fieldsOf returns v's JSON object field by field.
func fieldsOf(v any) (map[string]json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	err = json.Unmarshal(data, &fields)
	return fields, err
}
