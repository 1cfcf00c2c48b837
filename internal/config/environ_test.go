package config_test

import (
	"testing"

	"github.com/mayfly-run/mayfly/internal/config"
)

func TestDataHome(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  []string
		want string
	}{
		{"XDG", []string{"HOME=/home/ada", "XDG_DATA_HOME=/data"}, "/data/mayfly"},
		{"home", []string{"HOME=/home/ada"}, "/home/ada/.local/share/mayfly"},
		{"an empty XDG is not set", []string{"XDG_DATA_HOME=", "HOME=/home/ada"}, "/home/ada/.local/share/mayfly"},
	} {
		if got, err := config.DataHome(config.Lookup(tt.env)); err != nil || got != tt.want {
			t.Errorf("%s: %q, error %v; want %q", tt.name, got, err, tt.want)
		}
	}
	_, err := config.DataHome(config.Lookup(nil))
	wantError(t, err, "no data folder: neither HOME nor XDG_DATA_HOME is set", "set one of them, or pass --data FOLDER")
}

func TestLookupTakesTheFirstOfEqualNames(t *testing.T) {
	t.Parallel()
	env := config.Lookup([]string{"A=1", "A=2", "B=", "C"})
	if v, ok := env("A"); v != "1" || !ok {
		t.Errorf("A is %q, %v", v, ok)
	}
	if v, ok := env("B"); v != "" || !ok {
		t.Errorf("B is %q, %v", v, ok)
	}
	if _, ok := env("C"); ok {
		t.Error("C is set")
	}
}

func TestIsNodeKey(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]bool{
		"gateway": true, "bus": true, "tls": true, "nats": true, "gateway.addr": true, "drain": true,
		"routes": false, "gate": false, "addr": false, "": false,
	} {
		if got := config.IsNodeKey(word); got != want {
			t.Errorf("IsNodeKey(%q) = %v", word, got)
		}
	}
}

func TestCacheHome(t *testing.T) {
	t.Parallel()
	got, ok := config.CacheHome(config.Lookup([]string{"HOME=/home/ada"}))
	if want := "/home/ada/.cache/mayfly"; got != want || !ok {
		t.Errorf("%q, %v; want %q", got, ok, want)
	}
	if got, ok := config.CacheHome(config.Lookup(nil)); ok {
		t.Errorf("without a home the cache is at %q", got)
	}
}

// A function may call mayfly: what its instance has got is no setting.
func TestVariablesOfInstancesAreNoSettings(t *testing.T) {
	t.Parallel()
	env := []string{"MAYFLY_CALL=c", "MAYFLY_FUNCTION=hello", "MAYFLY_URL=http://localhost:8080", "MAYFLY_PARAM_ID=7", "MAYFLY_PARAM_="}
	if _, err := config.Load(config.LoadOptions{Env: env}); err != nil {
		t.Error(err)
	}
	_, err := config.Load(config.LoadOptions{Env: []string{"MAYFLY_PARAMS=1"}})
	if err == nil {
		t.Error("MAYFLY_PARAMS is taken for a variable of an instance")
	}
}
