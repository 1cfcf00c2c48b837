package config

import (
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// manifestKeys are the top keys of mayfly.yaml, which end up here by mistake.
var manifestKeys = []string{"project", "functions", "services", "routes"}

// A value is the text of one key in the config file, and its place.
type value struct {
	text string
	node *yamlfile.Node
}

// parseFile reads a config file into values by key.
func parseFile(path string, data []byte, keys []Key) (map[string]value, error) {
	root, err := yamlfile.Parse(path, data)
	if err != nil {
		return nil, err
	}
	values := map[string]value{}
	if root.Kind == yamlfile.Null {
		return values, nil
	}
	return values, readGroup(values, root, "", keys)
}

// readGroup reads the keys of one map of the file; prefix is "" or "gateway.".
func readGroup(values map[string]value, group *yamlfile.Node, prefix string, keys []Key) error {
	fields, err := group.Map()
	if err != nil {
		return err
	}
	for _, f := range fields {
		name := prefix + f.Key.Text
		switch {
		case slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) && !strings.Contains(f.Key.Text, "."):
			all, err := f.Value.Strs()
			if err != nil {
				return err
			}
			values[name] = value{text: strings.Join(all, ","), node: f.Value}
		case hasGroup(keys, name+"."):
			if err := readGroup(values, f.Value, name+".", keys); err != nil {
				return err
			}
		default:
			return unknownKey(group, f.Key, prefix, keys)
		}
	}
	return nil
}

// unknownKey returns the error for a key that does not exist, with a hint.
func unknownKey(group, key *yamlfile.Node, prefix string, keys []Key) error {
	if prefix == "" && slices.Contains(manifestKeys, key.Text) {
		return group.Unknown(key, nil).WithHint("move %s to the project's mayfly.yaml", key.Text)
	}
	if above, below, dotted := strings.Cut(key.Text, "."); dotted && hasGroup(keys, prefix+above+".") {
		return group.Unknown(key, nil).WithHint("move %s under %s:", below, above)
	}
	var known []string
	for _, k := range keys {
		if rest, ok := strings.CutPrefix(k.Name, prefix); ok {
			word, _, _ := strings.Cut(rest, ".")
			known = append(known, word)
		}
	}
	return group.Unknown(key, known)
}

// IsNodeKey reports whether word is a key, or a group of keys, of the config file. In
// mayfly.yaml it is in the wrong file.
func IsNodeKey(word string) bool {
	keys := Keys()
	return hasGroup(keys, word+".") || slices.ContainsFunc(keys, func(k Key) bool { return k.Name == word })
}

func hasGroup(keys []Key, prefix string) bool {
	return slices.ContainsFunc(keys, func(k Key) bool { return strings.HasPrefix(k.Name, prefix) })
}
