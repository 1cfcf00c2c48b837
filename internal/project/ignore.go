package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// ignoreName is the file that lists what is not part of the code.
const ignoreName = ".mayflyignore"

// The rules of .mayflyignore, which are those of gitignore for one file at the top:
//
//	# a comment; so is an empty line
//	*.log       a file or folder of this name, at any depth
//	/dist       with a / before its end: from the top
//	docs/*.md   likewise; * and ? match no /
//	a/**/b      ** matches any number of folders
//	[abc].txt   one of these; [!abc] none of them
//	tmp/        folders only, with all that is in them
//	!keep.log   not this one after all; nothing within an ignored folder comes back
//
// The last rule that matches counts. The rules of defaults precede the first line.

// defaults are left out of every bundle: files of the machine or the repository, and
// files that are generated.
var defaults = []string{".*", "node_modules/", "__pycache__/"}

// maxRules bounds the work for each file of a folder.
const maxRules = 1000

// rules are the lines of the file, last one first.
type rules []rule

// A rule is one line.
type rule struct {
	match   *regexp.Regexp // of the path within the folder, with / at a folder's end
	exclude bool           // false for a line with !
}

// readRules returns the rules of a folder, or of a file, which are the defaults.
func readRules(folder string) (rules, error) {
	data, err := readFile(os.DirFS(folder), ignoreName)
	if _, isPath := errors.AsType[*fs.PathError](err); isPath {
		return parseRules("")
	}
	file := filepath.Join(folder, ignoreName)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read %s: %w", file, err)
	}
	all, err := parseRules(string(data))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "%s:%w", file, err)
	}
	return all, nil
}

// parseRules reads lines. An error starts with the line's number.
func parseRules(text string) (rules, error) {
	var all rules
	for _, line := range defaults {
		all = append(all, rule{match: glob(line), exclude: true})
	}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		if len(all) > maxRules || len(line) > 1000 {
			return nil, mayfly.Errorf(mayfly.Invalid, "%d:1: more than %d rules, or a rule longer than 1000 bytes", number, maxRules)
		}
		pattern, include := strings.CutPrefix(line, "!")
		all = append(all, rule{match: glob(strings.TrimPrefix(pattern, `\`)), exclude: !include})
	}
	slices.Reverse(all)
	return all, nil
}

// glob translates a pattern of gitignore.
func glob(pattern string) *regexp.Regexp {
	pattern = strings.ToValidUTF8(pattern, "?")
	folder := strings.HasSuffix(pattern, "/")
	pattern = strings.TrimSuffix(pattern, "/")
	var b strings.Builder
	b.WriteString(`^`)
	if !strings.Contains(pattern, "/") {
		b.WriteString(`(?:.*/)?`)
	}
	pattern = strings.TrimPrefix(pattern, "/")
	for pattern != "" {
		var one string
		one, pattern = globPart(pattern)
		b.WriteString(one)
	}
	if b.WriteString(`/`); !folder {
		b.WriteString(`?`)
	}
	return regexp.MustCompile(b.String() + `$`)
}

// globPart translates the beginning of a pattern and returns the rest.
func globPart(p string) (one, rest string) {
	switch {
	case strings.HasPrefix(p, "**/"):
		return `(?:.*/)?`, p[3:]
	case strings.HasPrefix(p, "/**") && len(p) == 3:
		return `/.+`, ""
	case strings.HasPrefix(p, "*"):
		return `[^/]*`, strings.TrimLeft(p, "*")
	case p[0] == '?':
		return `[^/]`, p[1:]
	case p[0] == '\\' && len(p) > 1:
		return regexp.QuoteMeta(p[1:2]), p[2:]
	case p[0] == '[':
		if end := strings.IndexByte(p[1:], ']'); end > 0 {
			if one, ok := class(p[1 : 1+end]); ok {
				return one, p[end+2:]
			}
		}
	}
	return regexp.QuoteMeta(p[:1]), p[1:]
}

// class translates the text between brackets.
func class(set string) (string, bool) {
	set, not := strings.CutPrefix(set, "!")
	if set == "" || strings.ContainsAny(set, `\/[^`) {
		return "", false
	}
	one := "[" + set + "]"
	if not {
		one = "[^/" + set + "]"
	}
	_, err := regexp.Compile(one)
	return one, err == nil
}

// match reports whether a path within the folder, with / at its end if it is one,
// is ignored by itself or lies in a folder that is.
func (r rules) match(name string) bool {
	for i := range len(name) {
		if name[i] == '/' && i < len(name)-1 && r.matchOne(name[:i+1]) {
			return true
		}
	}
	return r.matchOne(name)
}

// matchOne is match for a path whose folders are known not to be ignored.
func (r rules) matchOne(name string) bool {
	for _, rule := range r {
		if rule.match.MatchString(name) {
			return rule.exclude
		}
	}
	return false
}

// without returns the rules without one of the defaults.
func (r rules) without(line string) rules {
	own := len(r) - len(defaults)
	kept := slices.Clone(r[:own])
	for i := own; i < len(r); i++ {
		if defaults[len(r)-1-i] != line {
			kept = append(kept, r[i])
		}
	}
	return kept
}
