package project

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/nearest"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// What a function and a service may say. Both are programs; the rest of a
// function's keys is about its calls.
var (
	programKeys  = []string{"code", "build", "start", "instances", "memory", "env", "secrets", "creds", "labels"}
	functionKeys = slices.Concat(programKeys, []string{
		"engine", "http", "timeout", "idle_timeout", "body", "concurrency", "wait", "cgi", "summary", "metadata",
	})
)

// later are keys that a coming version will know, with the verb that fits them.
var later = map[string]string{"jobs": "are", "schedules": "are", "triggers": "are", "auth": "is"}

// Bounds of numbers: above them is a slip of the finger, not a plan.
const (
	maxConcurrency = 10_000
	maxWait        = 1_000_000
	maxInstances   = 1_000
)

// serviceName is a name as ADR-32 has it.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

// parseFunctions returns the functions of a manifest, by name.
func (p *Project) parseFunctions(n *yamlfile.Node, taken *patterns) ([]Source, error) {
	if n == nil {
		return nil, nil
	}
	fields, err := n.Map()
	if err != nil {
		return nil, err
	}
	var all []Source
	for _, f := range fields {
		name, err := mayfly.ParseName(f.Key.Text)
		if err != nil {
			return nil, f.Key.Wrap(err)
		}
		s, err := p.parseFunction(name, f, taken)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	slices.SortFunc(all, byName)
	return all, nil
}

func byName(a, b Source) int { return strings.Compare(a.Name, b.Name) }

func (p *Project) parseFunction(name mayfly.Name, field yamlfile.Field, taken *patterns) (Source, error) {
	n := field.Value
	f := &mayfly.Function{Name: name, Project: p.Name}
	s := Source{Name: string(name), Function: f}
	if err := checkProgram(n, functionKeys); err != nil {
		return s, err
	}
	if err := p.parseProgram(&s, field); err != nil {
		return s, err
	}
	if err := parseEngine(&s, n.Get("engine")); err != nil {
		return s, err
	}
	if err := parsePatterns(f, n.Get("http"), taken); err != nil {
		return s, err
	}
	if err := parseLimits(&f.Limits, n); err != nil {
		return s, err
	}
	var err error
	if v := n.Get("cgi"); v != nil {
		if f.CGI, err = v.Bool(); err != nil {
			return s, err
		}
		if f.CGI && s.Engine != "" && s.Engine != mayfly.EngineExec {
			return s, v.Errorf("%s is for engine exec: an %s function sets status and headers itself", v.Path, s.Engine)
		}
	}
	if v := n.Get("summary"); v != nil {
		if f.Summary, err = v.Str(); err != nil {
			return s, err
		}
	}
	if v := n.Get("metadata"); v != nil {
		if f.Metadata, err = texts(v); err != nil {
			return s, err
		}
	}
	return s, nil
}

// parseServices returns the services that Mayfly is to run, by name.
func (p *Project) parseServices(n *yamlfile.Node) ([]Source, error) {
	if n == nil {
		return nil, nil
	}
	fields, err := n.Map()
	if err != nil {
		return nil, err
	}
	var all []Source
	for _, f := range fields {
		name := f.Key.Text
		if !serviceName.MatchString(name) {
			return nil, f.Key.Errorf("service %q has no name of NATS micro: use letters, digits, _ and -, at most 63", clip(name))
		}
		h := &mayfly.Hosted{Name: name, Project: p.Name, Instances: 1}
		s := Source{Name: name, Hosted: h, Engine: mayfly.EngineService}
		if v := f.Value.Get("engine"); v != nil {
			return nil, v.Errorf("%s is not needed: what stands under services: has engine service", v.Path).WithHint("leave it out, or move %s to functions:", name)
		}
		if err := checkProgram(f.Value, programKeys); err != nil {
			return nil, err
		}
		if err := p.parseProgram(&s, f); err != nil {
			return nil, err
		}
		if v := f.Value.Get("instances"); v != nil {
			if h.Instances, err = number(v, 1, maxInstances); err != nil {
				return nil, err
			}
		}
		if slices.ContainsFunc(p.Functions, func(other Source) bool { return other.Name == name }) {
			return nil, f.Key.Errorf("%q is a function and a service: calls could not tell them apart", name).WithHint("give one of them another name")
		}
		all = append(all, s)
	}
	slices.SortFunc(all, byName)
	return all, nil
}

// checkProgram refuses unknown keys, and known ones whose time has not come.
func checkProgram(n *yamlfile.Node, known []string) error {
	fields, err := n.Map()
	if err != nil {
		if n.Kind == yamlfile.Null {
			return n.Errorf("%s has no code: there is nothing to run", n.Path).WithHint("write code: ./hello.js, a file or a folder")
		}
		return err
	}
	for _, f := range fields {
		if _, reserved := later[f.Key.Text]; !reserved {
			continue
		}
		if err := checkLater(f); err != nil {
			return err
		}
		return notYet(n, f.Key)
	}
	return n.Only(known...)
}

// notYet says that the time of a key of n has not come.
func notYet(n, key *yamlfile.Node) error {
	return key.Errorf("%s %s not in this version (%s)", key.Text, later[key.Text], n.Path).WithHint("leave %s out", key.Text)
}

// checkLater refuses what would be wrong in any version, so that the first thing
// said of a mistake is the mistake.
func checkLater(f yamlfile.Field) error {
	n := f.Value
	switch f.Key.Text {
	case "jobs":
		return n.Only("tries", "backoff", "keep", "timeout")
	case "schedules":
		fields, err := n.Map()
		if err != nil {
			return err
		}
		for _, f := range fields {
			if err := f.Value.Only("cron", "every", "at", "zone", "payload", "missed"); err != nil {
				return err
			}
		}
	case "triggers":
		for _, item := range n.Each() {
			if err := item.Only("subject", "stream", "bucket", "key", "from", "batch"); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseProgram reads what functions and services have in common, but instances.
func (p *Project) parseProgram(s *Source, field yamlfile.Field) (err error) {
	n, program := field.Value, s.program()
	if err := p.parseCode(s, field); err != nil {
		return err
	}
	if v := n.Get("build"); v != nil {
		if s.Build, err = commandText(v); err != nil {
			return err
		}
	}
	if v := n.Get("start"); v != nil {
		if s.Start, err = commandLine(v); err != nil {
			return err
		}
	}
	if v := n.Get("memory"); v != nil {
		if program.Memory, err = size(v); err != nil {
			return err
		}
	}
	if v := n.Get("env"); v != nil {
		if program.Env, err = parseEnv(v); err != nil {
			return err
		}
	}
	if v := n.Get("secrets"); v != nil {
		if program.Secrets, err = parseSecrets(v, program.Env); err != nil {
			return err
		}
	}
	if v := n.Get("creds"); v != nil {
		if program.Creds, err = secretName(v); err != nil {
			return err
		}
	}
	if v := n.Get("labels"); v != nil {
		if program.Labels, err = texts(v); err != nil {
			return err
		}
	}
	return nil
}

// parseCode reads where the code is, which must be there and below the manifest's
// folder: what the project consists of travels with it.
func (p *Project) parseCode(s *Source, field yamlfile.Field) error {
	n := field.Value.Get("code")
	if n == nil {
		return field.Key.Errorf("%s has no code: there is nothing to run", field.Value.Path).WithHint("write code: ./hello.js, a file or a folder")
	}
	text, err := n.Str()
	if err != nil {
		return err
	}
	name := filepath.FromSlash(text)
	if !filepath.IsLocal(name) {
		return n.Errorf("code %q does not lie below the manifest's folder", clip(text))
	}
	s.Code = filepath.Join(p.Folder, name)
	info, err := os.Stat(s.Code)
	if errors.Is(err, fs.ErrNotExist) {
		return n.Errorf("no file or folder %s in the manifest's folder", clip(text))
	}
	if err != nil {
		return n.Errorf("find the code: %w", err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return n.Errorf("%s is neither a file nor a folder", clip(text))
	}
	s.Watch = []string{s.Code}
	s.ignored, err = readRules(s.Code)
	return err
}

func parseEngine(s *Source, n *yamlfile.Node) error {
	if n == nil {
		return nil
	}
	text, err := n.Str()
	if err != nil {
		return err
	}
	switch e := mayfly.Engine(text); e {
	case mayfly.EngineHTTP, mayfly.EngineExec:
		s.Engine = e
		return nil
	case mayfly.EngineService:
		return n.Errorf("%s: what speaks NATS itself is no function", n.Path).WithHint("move %s to services:", s.Name)
	case "wasm", "container":
		return n.Errorf("engine %s is not in this version", e).WithHint("use http or exec")
	default:
		e := n.Errorf("engine %q is unknown: http and exec are known", clip(text))
		if near, ok := nearest.To(text, []string{"http", "exec"}); ok {
			return e.WithHint("did you mean %s?", near)
		}
		return e
	}
}

func parsePatterns(f *mayfly.Function, n *yamlfile.Node, taken *patterns) error {
	if n == nil {
		return nil
	}
	for _, item := range n.Each() {
		p, err := parsePattern(item)
		if err != nil {
			return err
		}
		if err := taken.take(item, p, "functions."+string(f.Name)); err != nil {
			return err
		}
		f.HTTP = append(f.HTTP, p)
	}
	return nil
}

func parseLimits(l *mayfly.Limits, n *yamlfile.Node) (err error) {
	if v := n.Get("timeout"); v != nil {
		if l.Timeout, err = positive(v); err != nil {
			return err
		}
	}
	if v := n.Get("idle_timeout"); v != nil {
		if l.IdleTimeout, err = positive(v); err != nil {
			return err
		}
	}
	if v := n.Get("body"); v != nil {
		if l.Body, err = size(v); err != nil {
			return err
		}
	}
	if v := n.Get("concurrency"); v != nil {
		if l.Concurrency, err = number(v, 1, maxConcurrency); err != nil {
			return err
		}
	}
	if v := n.Get("wait"); v != nil {
		if l.Wait, err = number(v, 0, maxWait); err != nil {
			return err
		}
		if l.Wait == 0 {
			l.Wait = -1 // in Limits 0 is the default
		}
	}
	if v := n.Get("instances"); v != nil {
		return parseInstances(&l.Instances, v)
	}
	return nil
}

func parseInstances(i *mayfly.Instances, n *yamlfile.Node) (err error) {
	if n.Kind == yamlfile.Number {
		return n.Errorf("%s must be a map, not a number", n.Path).WithHint("write {max: %s} for how many there may be, {min: %[1]s} for how many there always are", n.Text)
	}
	if err := n.Only("min", "max", "idle", "start"); err != nil {
		return err
	}
	if v := n.Get("min"); v != nil {
		if i.Min, err = number(v, 0, maxInstances); err != nil {
			return err
		}
	}
	if v := n.Get("max"); v != nil {
		if i.Max, err = number(v, 1, maxInstances); err != nil {
			return err
		}
		if i.Max < i.Min {
			return v.Errorf("%s is %d, less than the %d of min", v.Path, i.Max, i.Min)
		}
	}
	if v := n.Get("idle"); v != nil {
		if i.Idle, err = positive(v); err != nil {
			return err
		}
	}
	if v := n.Get("start"); v != nil {
		if i.Start, err = positive(v); err != nil {
			return err
		}
	}
	return nil
}

// parseEnv reads variables. Those by which a node tells an instance where to
// listen and who it is cannot be set.
func parseEnv(n *yamlfile.Node) (map[string]string, error) {
	fields, err := n.Map()
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		switch name := f.Key.Text; {
		case !isVariable(name):
			return nil, f.Key.Errorf("%q in %s is no name of a variable: use letters, digits and _", clip(name), n.Path)
		case name == "PORT" || strings.HasPrefix(name, "MAYFLY_"):
			return nil, f.Key.Errorf("%s is set by Mayfly itself in each instance", clip(name)).WithHint("use another name")
		}
	}
	return texts(n)
}

// parseSecrets reads names of secrets, which become variables beside env.
func parseSecrets(n *yamlfile.Node, env map[string]string) ([]string, error) {
	var all []string
	for _, item := range n.Each() {
		name, err := secretName(item)
		if err != nil {
			return nil, err
		}
		variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if !isVariable(variable) || variable == "PORT" || strings.HasPrefix(variable, "MAYFLY_") {
			return nil, item.Errorf("secret %s would be given as %s, which is no variable of yours", name, variable).WithHint("use another name")
		}
		if _, taken := env[variable]; taken {
			return nil, item.Errorf("secret %s is given as %s, which env sets too", name, variable)
		}
		if slices.Contains(all, name) {
			return nil, item.Errorf("secret %s stands there twice", name)
		}
		all = append(all, name)
	}
	return all, nil
}

func secretName(n *yamlfile.Node) (string, error) {
	text, err := n.Str()
	if err != nil {
		return "", err
	}
	name, err := mayfly.ParseName(text)
	if err != nil {
		return "", n.Wrap(err)
	}
	return string(name), nil
}

// commandText reads a command for the shell.
func commandText(n *yamlfile.Node) (string, error) {
	text, err := n.Str()
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(text) == "" {
		return "", n.Errorf("%s is empty", n.Path).WithHint("write a command, or leave it out")
	}
	return text, nil
}

// commandLine reads a command for the shell, or a list: a program and its
// arguments, started without one.
func commandLine(n *yamlfile.Node) ([]string, error) {
	if n.Kind != yamlfile.List {
		text, err := commandText(n)
		return []string{"sh", "-c", text}, err
	}
	words, err := n.Strs()
	if err == nil && (len(words) == 0 || words[0] == "") {
		err = n.Errorf("%s names no program", n.Path).WithHint("write a command, such as [node, server.js]")
	}
	return words, err
}

// texts reads a map of texts.
func texts(n *yamlfile.Node) (map[string]string, error) {
	fields, err := n.Map()
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, f := range fields {
		if all[f.Key.Text], err = f.Value.Str(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// number reads a whole number, also one that a variable gave as text.
func number(n *yamlfile.Node, least, most int) (int, error) {
	text := n.Text
	if n.Kind == yamlfile.Number {
		exact, err := n.JSON()
		if err != nil {
			return 0, err
		}
		text = string(exact)
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n.Kind != yamlfile.Number && n.Kind != yamlfile.String || v > math.MaxInt32 || v < math.MinInt32 {
		return 0, n.Errorf("%s must be a whole number", n.Path)
	}
	if v < int64(least) || v > int64(most) {
		return 0, n.Errorf("%s is %d: it must be from %d to %d", n.Path, v, least, most)
	}
	return int(v), nil
}

// size reads a number of bytes.
func size(n *yamlfile.Node) (int64, error) {
	text, err := n.Str()
	if err != nil {
		return 0, err
	}
	var b config.Bytes
	if err := b.UnmarshalText([]byte(text)); err != nil {
		return 0, n.Wrap(err)
	}
	if b <= 0 {
		return 0, n.Errorf("%s must be more than 0", n.Path)
	}
	return int64(b), nil
}

// positive reads a duration of more than nothing.
func positive(n *yamlfile.Node) (mayfly.Duration, error) {
	d, err := n.Duration()
	if err != nil {
		return 0, err
	}
	if d <= 0 {
		return 0, n.Errorf("%s %s is not more than 0", n.Path, n.Text)
	}
	return mayfly.Duration(d), nil
}
