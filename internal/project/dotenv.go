package project

import (
	"errors"
	"io/fs"
	"regexp"
	"strings"

	"github.com/mayfly-run/mayfly"
)

const dotenvName = ".env"

// readDotenv reads the .env file beside the manifest, if there is one; file is the path
// for messages.
func readDotenv(folder fs.FS, file string) (map[string]string, error) {
	data, err := readFile(folder, dotenvName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read %s: %w", file, err)
	}
	return parseDotenv(file, string(data))
}

// parseDotenv reads lines such as
//
//	# a comment
//	NAME=value            the rest of the line, without spaces around it and " #..."
//	export NAME='value'   as it stands between the quotes
//	NAME="a\nb"           with \n \t \r \" \\ and \$ read as escapes
//
// Values are on one line and hold no variables of their own.
func parseDotenv(file, text string) (map[string]string, error) {
	vars := map[string]string{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if name = strings.TrimSpace(name); !ok || !isVariable(name) {
			return nil, mayfly.Errorf(mayfly.Invalid, "%s:%d:1: not of the form NAME=value", file, number)
		}
		value, ok = unquote(strings.TrimSpace(value))
		if !ok {
			return nil, mayfly.Errorf(mayfly.Invalid, "%s:%d:1: %s has an unclosed quote, or text after the closing one", file, number, name)
		}
		vars[name] = value
	}
	return vars, nil
}

// unquote returns the value of s.
func unquote(s string) (string, bool) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		if i := strings.Index(" "+s, " #"); i >= 0 {
			s = s[:max(0, i-1)]
		}
		return strings.TrimSpace(s), true
	}
	m := quoted.FindStringSubmatch(s)
	if m == nil {
		return "", false
	}
	if s[0] == '\'' {
		return m[2], true
	}
	return escapes.Replace(m[1]), true
}

// quoted matches a value in double or single quotes, with an optional comment.
var quoted = regexp.MustCompile(`^(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?$`)

var escapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\"`, `"`, `\\`, `\`, `\$`, "$")
