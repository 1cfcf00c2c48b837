package project

import (
	"cmp"
	"errors"
	"io/fs"
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly"
)

const dotenvName = ".env"

// readDotenv reads the .env file beside the manifest, if there is one; file is the path
// for messages. Variables in its values come from env, or else from the lines above.
func readDotenv(folder fs.FS, file string, env func(name string) (string, bool)) (map[string]string, error) {
	data, err := readFile(folder, dotenvName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read %s: %w", file, err)
	}
	return parseDotenv(file, string(data), env)
}

// parseDotenv reads lines such as
//
//	# a comment
//	NAME=value            the rest of the line, without spaces around it and " #..."
//	export NAME='value'   as it stands between the quotes
//	NAME="a\nb"           with \n \t \r \" \\ and \$ read as escapes
//
// A value in quotes may span lines. Variables in it are those of a manifest, except in
// single quotes.
func parseDotenv(file, text string, env func(name string) (string, bool)) (map[string]string, error) {
	vars := map[string]string{}
	lookup := func(name string) (string, bool) {
		if value, ok := env(name); ok {
			return value, true
		}
		value, ok := vars[name]
		return value, ok
	}
	number := 1
	for rest := strings.ReplaceAll(text, "\r\n", "\n"); rest != ""; {
		text = rest
		line, below, _ := strings.Cut(text, "\n")
		fault := func(format string, args ...any) *mayfly.Error {
			return mayfly.Errorf(mayfly.Invalid, "%s:%d:1: "+format, append([]any{file, number}, args...)...)
		}
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			rest = below
			number++
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if name = strings.TrimSpace(name); !ok || !isVariable(name) {
			return nil, fault("not of the form NAME=value")
		}
		rest = below
		if value = strings.TrimSpace(value); value != "" && (value[0] == '"' || value[0] == '\'') {
			from := strings.IndexByte(text, '=') + 1
			value = quoted.FindString(text[from:])
			if value == "" {
				return nil, fault("%s has an unclosed quote, or text after the closing one", name)
			}
			rest = strings.TrimPrefix(text[from+len(value):], "\n")
		}
		var err error
		if vars[name], err = unquote(value, name, lookup); err != nil {
			return nil, fault("%w", err).WithHint("%s", mayfly.HintOf(err))
		}
		number += strings.Count(text[:len(text)-len(rest)], "\n")
	}
	return vars, nil
}

// unquote returns the value of a variable called name.
func unquote(s, name string, env func(string) (string, bool)) (string, error) {
	m := quoted.FindStringSubmatch(s)
	switch {
	case m == nil:
		if i := strings.Index(" "+s, " #"); i >= 0 {
			s = s[:max(0, i-1)]
		}
		s = strings.TrimSpace(s)
	case strings.HasPrefix(strings.TrimSpace(s), "'"):
		return m[2], nil
	default:
		s = m[1]
	}
	var fault error
	s = special.ReplaceAllStringFunc(s, func(text string) string {
		if text[0] != '$' {
			if m == nil {
				return text
			}
			return escapes.Replace(text)
		}
		value, err := resolve(text, name, env)
		fault = cmp.Or(fault, err)
		return value
	})
	return s, fault
}

// quoted matches a value in double or single quotes, up to the end of its last line.
var quoted = regexp.MustCompile(`^[ \t]*(?:"((?:[^"\\]|\\(?s:.))*)"|'([^']*)')[ \t]*(?:#.*)?(?m:$)`)

// special is an escape or a variable in a value.
var special = regexp.MustCompile(`\\(?s:.)|` + reference.String())

var escapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\"`, `"`, `\\`, `\`, `\$`, "$")
