package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mayfly-run/mayfly"
)

// LoadOptions are the sources of a Config besides the defaults. The zero value is
// an empty command line in an empty environment.
type LoadOptions struct {
	Flags Config   // values from the command line, for the keys in Set
	Set   []string // keys given on the command line
	Env   []string // NAME=value; an empty value counts as not set

	// File is the config file that the command line names; it must exist. If empty,
	// MAYFLY_CONFIG names one, and else $XDG_CONFIG_HOME/mayfly/config.yaml or
	// ~/.config/mayfly/config.yaml is read if it is there.
	File string
}

// A Loaded is a valid Config and where its values came from.
type Loaded struct {
	Config
	File     string    // the config file that was read; "" if none
	Settings []Setting // one for each key, in the order of Keys
}

// A Setting is the value of one key.
type Setting struct {
	Key
	Text string // of a secret: "(set)" or ""
	From string // "default", "flag --x", "env MAYFLY_X" or "file PATH:LINE"
}

// IsSet reports whether the key was set, even to its default.
func (l Loaded) IsSet(key string) bool {
	i := slices.IndexFunc(l.Settings, func(s Setting) bool { return s.Name == key })
	return i >= 0 && l.Settings[i].From != "default"
}

// Load merges the sources and checks the result. Errors name the source and have
// code Invalid, or NotFound if a named file does not exist.
func Load(opts LoadOptions) (Loaded, error) {
	keys, env := Keys(), Lookup(opts.Env)
	if err := checkEnviron(opts.Env, keys); err != nil {
		return Loaded{}, err
	}
	for _, name := range opts.Set {
		if !slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) {
			return Loaded{}, mayfly.Errorf(mayfly.Internal, "flag --%s is not a configuration key", name)
		}
	}
	path, values, err := readFile(opts.File, env, keys)
	if err != nil {
		return Loaded{}, err
	}
	l := Loaded{File: path}
	for _, k := range keys {
		from, err := k.load(&l.Config, opts, env, values)
		if err != nil {
			return Loaded{}, err
		}
		l.Settings = append(l.Settings, Setting{Key: k, Text: k.text(&l.Config), From: from})
	}
	if err := l.Check(); err != nil {
		return Loaded{}, err
	}
	return l, nil
}

// load sets one key in c from the first source that has it, and names that source.
func (k Key) load(c *Config, opts LoadOptions, env func(string) (string, bool), file map[string]value) (from string, err error) {
	if slices.Contains(opts.Set, k.Name) {
		k.field(c).Set(k.field(&opts.Flags))
		return "flag " + k.Flag(), nil
	}
	if text, _ := env(k.Env()); text != "" {
		return "env " + k.Env(), explain(k.set(c, text), k.Env())
	}
	if v, ok := file[k.Name]; ok {
		if err := k.set(c, v.text); err != nil {
			return "", v.node.Wrap(explain(err, k.Name))
		}
		return fmt.Sprintf("file %s:%d", v.node.File, v.node.Line), nil
	}
	if k.Default == "" {
		return "default", nil
	}
	return "default", explain(k.set(c, k.Default), "default of "+k.Name)
}

// explain prefixes err with what was being set, keeping code and hint.
func explain(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// readFile finds and reads the config file. It returns no path if there is none.
func readFile(named string, env func(string) (string, bool), keys []Key) (path string, values map[string]value, err error) {
	path = named
	if path == "" {
		path, _ = env(envFile)
	}
	optional := path == ""
	if optional {
		folder, ok := home(env, "XDG_CONFIG_HOME", ".config")
		if !ok {
			return "", nil, nil
		}
		path = filepath.Join(folder, "config.yaml")
	}
	data, err := os.ReadFile(path)
	switch {
	case err == nil:
		values, err = parseFile(path, data, keys)
		return path, values, err
	case errors.Is(err, fs.ErrNotExist) && optional:
		return "", nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return "", nil, mayfly.Errorf(mayfly.NotFound, "no config file %s", path).
			WithHint("the file that --config or %s names must exist", envFile)
	default:
		return "", nil, mayfly.Errorf(mayfly.Invalid, "read config file: %w", err)
	}
}
