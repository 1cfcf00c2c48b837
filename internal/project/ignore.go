package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
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
	glob    string // of the path within the folder
	folder  bool   // it matches no files
	exclude bool   // false for a line with !
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
		all = append(all, newRule(line))
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
		all = append(all, newRule(line))
	}
	slices.Reverse(all)
	return all, nil
}

// newRule reads a line.
func newRule(line string) rule {
	line, include := strings.CutPrefix(strings.ToValidUTF8(line, "?"), "!")
	// Braces have no meaning to gitignore.
	line = strings.NewReplacer(`\\`, `\\`, `\{`, `\{`, `\}`, `\}`, "{", `\{`, "}", `\}`).Replace(line)
	glob, folder := strings.CutSuffix(line, "/")
	if !doublestar.ValidatePattern(glob) {
		glob = strings.ReplaceAll(glob, "[", `\[`)
	}
	glob, top := strings.CutPrefix(glob, "/")
	if !top && !strings.Contains(glob, "/") {
		glob = "**/" + glob
	}
	if inside, ok := strings.CutSuffix(glob, "/**"); ok {
		glob = inside + "/**/*" // not the folder itself
	}
	return rule{glob: glob, folder: folder, exclude: !include}
}

func (r rule) match(name string) bool {
	name, folder := strings.CutSuffix(name, "/")
	return (folder || !r.folder) && doublestar.MatchUnvalidated(r.glob, name)
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
		if rule.match(name) {
			return rule.exclude
		}
	}
	return false
}

// own returns the rules without the defaults.
func (r rules) own() rules { return r[:max(0, len(r)-len(defaults))] }

// installed returns the rules for an installed package: its own files may start with a
// dot, but secrets stay at home.
func (r rules) installed() rules {
	return append(slices.Clone(r.own()), newRule(".git"), newRule(".env*"), newRule(npmSettings))
}

// without returns the rules without one of the defaults.
func (r rules) without(line string) rules {
	own := len(r.own())
	kept := slices.Clone(r[:own])
	for i := own; i < len(r); i++ {
		if defaults[len(r)-1-i] != line {
			kept = append(kept, r[i])
		}
	}
	return kept
}
