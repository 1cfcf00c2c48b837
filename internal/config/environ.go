package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/nearest"
)

const envPrefix = "MAYFLY_"

// envFile names the config file. It is not a key, since it says where keys are.
const envFile = envPrefix + "CONFIG"

// reserved are variables with our prefix that are not keys. MAYFLY_REQUIRE is for tests;
// functions have the others in their environment, and may run mayfly.
var reserved = []string{"CONFIG", "REQUIRE", "FUNCTION", "REVISION", "INSTANCE", "URL", "SOCKET", "CALL", "DEADLINE"}

// isReserved reports whether a variable is not a setting.
func isReserved(name string) bool {
	return strings.HasPrefix(name, mayfly.EnvParam) || slices.Contains(reserved, strings.TrimPrefix(name, envPrefix))
}

// Environ returns the process's environment as NAME=value. Nothing else reads it: main
// calls this once and passes it on.
func Environ() []string { return os.Environ() }

// Lookup returns the variables of an environment by name. As in the standard
// library, the first of several equal names counts.
func Lookup(environ []string) func(name string) (string, bool) {
	vars := make(map[string]string, len(environ))
	for _, line := range environ {
		name, value, ok := strings.Cut(line, "=")
		if _, taken := vars[name]; ok && !taken {
			vars[name] = value
		}
	}
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

// DataHome returns the folder below which nodes of this user keep their state:
// $XDG_DATA_HOME/mayfly or ~/.local/share/mayfly.
func DataHome(env func(name string) (string, bool)) (string, error) {
	folder, ok := home(env, "XDG_DATA_HOME", ".local/share")
	if !ok {
		return "", mayfly.Errorf(mayfly.Invalid, "no data folder: neither HOME nor XDG_DATA_HOME is set").
			WithHint("set one of them, or pass --data FOLDER")
	}
	return folder, nil
}

// CacheHome returns the folder for files that may be deleted at any time:
// $XDG_CACHE_HOME/mayfly or ~/.cache/mayfly. Without a home there is none.
func CacheHome(env func(name string) (string, bool)) (string, bool) {
	return home(env, "XDG_CACHE_HOME", ".cache")
}

// home returns the mayfly folder of one kind. A relative path counts as not
// set, as the XDG specification requires.
func home(env func(string) (string, bool), variable, below string) (string, bool) {
	if folder, _ := env(variable); filepath.IsAbs(folder) {
		return filepath.Join(folder, "mayfly"), true
	}
	if folder, _ := env("HOME"); filepath.IsAbs(folder) {
		return filepath.Join(folder, filepath.FromSlash(below), "mayfly"), true
	}
	return "", false
}

// checkEnviron rejects unknown variables with our prefix: each is a mistyped setting.
func checkEnviron(environ []string, keys []Key) error {
	known := slices.Clone(reserved)
	for _, k := range keys {
		known = append(known, strings.TrimPrefix(k.Env(), envPrefix))
	}
	for _, line := range environ {
		name, _, _ := strings.Cut(line, "=")
		word, ours := strings.CutPrefix(name, envPrefix)
		if !ours || isReserved(name) || slices.Contains(known, word) {
			continue
		}
		err := mayfly.Errorf(mayfly.Invalid, "unknown environment variable %s", mayfly.Clip(name))
		if near, ok := nearest.To(word, known); ok {
			return err.WithHint("did you mean %s%s?", envPrefix, near)
		}
		return err.WithHint("names that start with %s are reserved for Mayfly's settings", envPrefix)
	}
	return nil
}
