package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/nearest"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
)

// Bounds of numbers: anything above is a typing error, not a plan.
const (
	maxConcurrency = 10_000
	maxWait        = 1_000_000
	maxInstances   = 1_000
)

// What is built, and how an instance of it is started.
var codeKeys = table[Source]{
	own("code", schema{"type": "string", "pattern": "^[^/]", "not": schema{"pattern": `^(\./)*\.\.(/|$)`}}, readCode,
		"File or folder below the manifest's folder. Mayfly detects how to run it.").required("there is nothing to run", "./hello.js"),
	set("build", asCommand, func(s *Source) *string { return &s.Build },
		"Shell command that runs first, in a copy of the folder."),
	set("start", asCommandLine, func(s *Source) *[]string { return &s.Start },
		"Command that starts an instance, run in the bundle's folder: a shell command, or a list of a program and its arguments."),
}

// What an instance gets, and where it may run.
var programKeys = table[mayfly.Program]{
	set("memory", asSize, func(p *mayfly.Program) *int64 { return &p.Memory },
		"Memory for an instance and its child processes, such as 256MiB. No limit by default."),
	set("disk", asSize, func(p *mayfly.Program) *int64 { return &p.Disk },
		"What an instance may keep in its TMPDIR, such as 1GiB. No limit by default."),
	set("env", asEnv, func(p *mayfly.Program) *map[string]string { return &p.Env },
		"Environment variables, besides those that every instance gets. The node's own are not passed on. Passwords belong in `secrets`.").and(checkTMPDIR),
	set("secrets", asSecrets, func(p *mayfly.Program) *[]string { return &p.Secrets },
		"Names of secrets: one or a list. `api-key` is passed as API_KEY.").and(checkSecrets),
	set("creds", asSecret, func(p *mayfly.Program) *string { return &p.Creds },
		"Secret with the NATS credentials of the instances. NATS_CREDS is the path of a file with them."),
	set("labels", asTexts, func(p *mayfly.Program) *map[string]string { return &p.Labels },
		"Labels that a node must have (`--labels zone=eu`) to run it once it is deployed."),
}

var limitKeys = table[mayfly.Limits]{
	set("timeout", asDuration, func(l *mayfly.Limits) *mayfly.Duration { return &l.Timeout },
		"Time from the end of the request to the headers of the reply.").or("30s"),
	set("idle_timeout", asDuration, func(l *mayfly.Limits) *mayfly.Duration { return &l.IdleTimeout },
		"Longest pause between two bytes of a streamed body.").or("1m"),
	set("body", asSize, func(l *mayfly.Limits) *int64 { return &l.Body },
		"Largest request body, such as 2GiB. By default `gateway.maxbody`."),
	set("concurrency", asWhole(1, maxConcurrency), func(l *mayfly.Limits) *int { return &l.Concurrency },
		"Calls that one instance handles at once. With more than 16, another one starts if they take longer than a millisecond and `max` allows it. Always 1 with engine exec.").or(64),
	set("wait", asWhole(0, maxWait), func(l *mayfly.Limits) *int { return &l.Wait },
		"Calls that may wait for an instance. Others get 429.").and(keepNoWait).or(100),
	own("instances", instanceKeys.schema(), readInstances,
		"How many instances one node runs.").group(instanceKeys.rows()),
}

var instanceKeys = table[mayfly.Instances]{
	set("min", asWhole(0, maxInstances), func(i *mayfly.Instances) *int { return &i.Min },
		"Instances that are kept warm. With 0 the first call starts one.").or(0),
	set("max", asWhole(1, maxInstances), func(i *mayfly.Instances) *int { return &i.Max },
		"Most instances. By default `min` if that is more.").and(checkMax).or(4),
	set("idle", asDuration, func(i *mayfly.Instances) *mayfly.Duration { return &i.Idle },
		"Time without a call after which an instance above `min` stops.").or("5m"),
	set("start", asDuration, func(i *mayfly.Instances) *mayfly.Duration { return &i.Start },
		"Time in which a new instance must get ready.").or("10s"),
}

var functionKeys = slices.Concat(
	codeKeys,
	table[Source]{
		own("engine", matching("^("+strings.Join(engines, "|")+")$").with(schema{"examples": engines}), readEngine,
			"`http`, `exec` or `static`, where Mayfly would detect the wrong one."),
		own("http", asPatterns.schema, readPatterns,
			"Paths of its own besides `/fn/<name>`: a pattern or a list, as in routes."),
		cors("cors", func(s *Source) **mayfly.CORS { return &s.Unit.CORS },
			"Origins whose pages may use it, on all its paths, as in routes. Without it, a function may answer preflights (OPTIONS) itself."),
	},
	lift(limitKeys, func(s *Source) *mayfly.Limits { return &s.Unit.Limits }),
	lift(programKeys, func(s *Source) *mayfly.Program { return &s.Unit.Program }),
	table[Source]{
		set("cgi", asBool, func(s *Source) *bool { return &s.Unit.CGI },
			"Engine exec: the output starts with headers, as in CGI.").and(checkCGI).or(false),
		set("fallback", asText, func(s *Source) *string { return &s.Unit.Fallback },
			"Engine static: file that answers paths without one, such as index.html of a single-page application.").and(checkFallback),
		set("summary", asText, func(s *Source) *string { return &s.Unit.Summary },
			"One line for people."),
		set("metadata", asTexts, func(s *Source) *map[string]string { return &s.Unit.Metadata },
			"Names and values that `nats micro info` shows."),
	},
)

var serviceKeys = slices.Concat(
	codeKeys,
	table[Source]{
		set("instances", asWhole(1, maxInstances), func(s *Source) *int { return &s.Unit.Instances.Min },
			"How many instances are kept running.").and(fixInstances).or(1),
	},
	lift(programKeys, func(s *Source) *mayfly.Program { return &s.Unit.Program }),
)

// The kinds of values that only functions and services take.
var (
	asCommand     = kind[string]{schema{"type": "string", "pattern": `[^ \t\r\n]`}, readCommand}
	asCommandLine = kind[[]string]{schema{"anyOf": []schema{asCommand.schema, {
		"type": "array", "minItems": 1, "prefixItems": []schema{asText.schema.with(schema{"pattern": "."})}, "items": asText.schema,
	}}}, readCommandLine}
	asEnv = kind[map[string]string]{asTexts.schema.with(schema{
		"propertyNames": schema{"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": schema{"pattern": "^(PORT$|MAYFLY_)"}},
	}), readEnv}
	asSecret  = kind[string]{nameSchema, readName[string]}
	asSecrets = kind[[]string]{oneOrMore(matching("^[a-z][a-z0-9-]{0,62}$"), schema{"uniqueItems": true}), asList(asSecret).read}
)

// function reads one entry of functions.
func (m *manifest) function(f yamlfile.Field) error {
	name, err := mayfly.ParseName(f.Key.Text)
	if err != nil {
		return f.Key.Wrap(err)
	}
	s := Source{Name: string(name), Unit: &mayfly.Unit{Name: name, Project: m.Name}}
	if err := checkMap(f); err != nil {
		return err
	}
	if err := functionKeys.read(m, f.Key, f.Value, &s); err != nil {
		return err
	}
	m.Functions = append(m.Functions, s)
	return nil
}

// checkTMPDIR rejects a limit of one folder beside the choice of another.
func checkTMPDIR(n *yamlfile.Node, p *mayfly.Program) error {
	if _, own := p.Env["TMPDIR"]; own && p.Disk > 0 {
		return n.Errorf("%s sets TMPDIR, and disk limits the TMPDIR that Mayfly makes", n.Path).WithHint("remove one of them")
	}
	return nil
}

// checkMap rejects an entry that is the code alone or has reserved keys.
func checkMap(f yamlfile.Field) error {
	if v := f.Value; v.Kind == yamlfile.String {
		return v.Errorf("%s must be a map, not text", v.Path).WithHint("write %s: {code: %s}", f.Key.Text, mayfly.Clip(v.Text))
	}
	return checkReserved(f.Value)
}

// service reads one entry of services, which come after the functions.
func (m *manifest) service(f yamlfile.Field) error {
	name, err := mayfly.KindService.ParseName(f.Key.Text)
	if err != nil {
		return f.Key.Wrap(err)
	}
	s := Source{Name: string(name), Engine: engineService, Unit: &mayfly.Unit{
		Kind: mayfly.KindService, Name: name, Project: m.Name, Limits: mayfly.Limits{Instances: mayfly.Exactly(1)},
	}}
	if v := f.Value.Get("engine"); v != nil {
		return v.Errorf("%s is not needed: everything under services: has engine service", v.Path).WithHint("remove it, or move %s to functions:", name)
	}
	if err := checkMap(f); err != nil {
		return err
	}
	if err := serviceKeys.read(m, f.Key, f.Value, &s); err != nil {
		return err
	}
	if slices.ContainsFunc(m.Functions, func(other Source) bool { return other.Unit.Name == name }) {
		return f.Key.Errorf("%q is both a function and a service: calls cannot tell them apart", name).WithHint("rename one of them")
	}
	m.Services = append(m.Services, s)
	return nil
}

// reserved are the keys of coming versions, with what they hold.
var reserved = map[string][]string{
	"jobs":      {"tries", "backoff", "keep", "timeout"},
	"schedules": {"cron", "every", "at", "zone", "payload", "missed"},
	"triggers":  {"subject", "stream", "bucket", "key", "from", "batch"},
	"auth":      nil,
}

// checkReserved rejects reserved keys of n; a mistake in what they hold comes first,
// since it would be one in any version.
func checkReserved(n *yamlfile.Node) error {
	for _, f := range n.Fields {
		known, ok := reserved[f.Key.Text]
		if !ok {
			continue
		}
		maps := f.Value.Each()
		if f.Key.Text == "schedules" {
			fields, err := f.Value.Map()
			if err != nil {
				return err
			}
			maps = nil
			for _, f := range fields {
				maps = append(maps, f.Value)
			}
		}
		for _, one := range maps {
			if err := one.Only(known...); known != nil && err != nil {
				return err
			}
		}
		return f.Key.Errorf("%s.%s is not supported in this version", n.Path, f.Key.Text).WithHint("remove %s", f.Key.Text)
	}
	return nil
}

// readCode finds the code, which must be below the manifest's folder: what the
// project consists of travels with it.
func readCode(m *manifest, n *yamlfile.Node, s *Source) error {
	text, err := n.Str()
	if err != nil {
		return err
	}
	name := filepath.FromSlash(text)
	if !filepath.IsLocal(name) {
		return n.Errorf("code %q is not below the manifest's folder", mayfly.Clip(text))
	}
	s.Code = filepath.Join(m.Folder, name)
	info, err := os.Stat(s.Code)
	if errors.Is(err, fs.ErrNotExist) {
		return n.Wrap(missing(s.Code, "no file or folder %s in the manifest's folder", mayfly.Clip(text)))
	}
	if err != nil {
		return n.Errorf("find the code: %w", err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return n.Errorf("%s is neither a file nor a folder", mayfly.Clip(text))
	}
	s.Watch = []string{s.Code}
	s.ignored, err = readRules(s.Code)
	return err
}

func readEngine(_ *manifest, n *yamlfile.Node, s *Source) error {
	text, err := n.Str()
	if err != nil {
		return err
	}
	switch e := mayfly.Engine(text); {
	case slices.Contains(engines, text):
		s.Engine = e
		return nil
	case traits[e].speaksNATS:
		return n.Errorf("%s: a program that speaks NATS itself is not a function", n.Path).WithHint("move %s to services:", s.Name)
	case e == "wasm" || e == "container":
		return n.Errorf("engine %s is not supported in this version", e).WithHint("use http, exec or static")
	}
	return n.Errorf("unknown engine %q: use http, exec or static", mayfly.Clip(text)).WithHint("%s", nearest.Hint(text, engines, ""))
}

func readPatterns(m *manifest, n *yamlfile.Node, s *Source) error {
	for _, item := range n.Each() {
		p, err := readPattern(item)
		if err != nil {
			return err
		}
		if err := m.taken.take(item, p, "functions."+s.Name); err != nil {
			return err
		}
		s.Unit.HTTP = append(s.Unit.HTTP, p)
	}
	return nil
}

func readInstances(m *manifest, n *yamlfile.Node, l *mayfly.Limits) error {
	if n.Kind == yamlfile.Number {
		return n.Errorf("%s must be a map, not a number", n.Path).WithHint("write {max: %s} for an upper limit, or {min: %[1]s} to keep %[1]s warm", n.Text)
	}
	return instanceKeys.read(m, n, n, &l.Instances)
}

func checkMax(n *yamlfile.Node, i *mayfly.Instances) error {
	if i.Max < i.Min {
		return n.Errorf("%s is %d, less than min (%d)", n.Path, i.Max, i.Min)
	}
	return nil
}

// keepNoWait keeps a 0, which in Limits is the default.
func keepNoWait(_ *yamlfile.Node, l *mayfly.Limits) error {
	if l.Wait == 0 {
		l.Wait = -1
	}
	return nil
}

// fixInstances keeps the instances of a service from coming and going.
func fixInstances(_ *yamlfile.Node, s *Source) error {
	s.Unit.Instances = mayfly.Exactly(s.Unit.Instances.Min)
	return nil
}

func checkCGI(n *yamlfile.Node, s *Source) error {
	if s.Unit.CGI && s.Engine != "" && !traits[s.Engine].cgi {
		return n.Errorf("%s is for engine exec: an %s function sets status and headers itself", n.Path, s.Engine)
	}
	return nil
}

func checkFallback(n *yamlfile.Node, s *Source) error {
	if !filepath.IsLocal(s.Unit.Fallback) {
		return n.Errorf("%s must be a file in the folder", n.Path).WithHint("fallback: index.html")
	}
	return nil
}

// readEnv reads variables, but not those by which a node tells an instance where to
// listen and who it is.
func readEnv(n *yamlfile.Node) (map[string]string, error) {
	for _, f := range n.Fields {
		switch name := f.Key.Text; {
		case !isVariable(name):
			return nil, f.Key.Errorf("%q in %s is not a variable name: use letters, digits and _", mayfly.Clip(name), n.Path)
		case isOurs(name):
			return nil, f.Key.Errorf("Mayfly sets %s itself in each instance", mayfly.Clip(name)).WithHint("use another name")
		case strings.Contains(f.Value.Text, "\x00"):
			return nil, holdsNUL(f.Value)
		}
	}
	return readTexts(n)
}

// holdsNUL returns the error for a value that no process can be given.
func holdsNUL(n *yamlfile.Node) error {
	return n.Errorf("%s contains a NUL character, which is not allowed in variables or arguments", n.Path).WithHint("remove it, or encode the value, such as in base64")
}

// isOurs reports whether a node sets the variable itself in each instance.
func isOurs(variable string) bool {
	return variable == "PORT" || strings.HasPrefix(variable, "MAYFLY_")
}

// checkSecrets checks the variables that secrets become, beside those of env.
func checkSecrets(n *yamlfile.Node, p *mayfly.Program) error {
	for i, item := range n.Each() {
		name := p.Secrets[i]
		variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if !isVariable(variable) || isOurs(variable) {
			return item.Errorf("secret %s would become the variable %s, which cannot be set", name, variable).WithHint("use another name")
		}
		if _, taken := p.Env[variable]; taken {
			return item.Errorf("secret %s would become the variable %s, which env sets too", name, variable)
		}
		if slices.Contains(p.Secrets[:i], name) {
			return item.Errorf("secret %s is listed twice", name)
		}
	}
	return nil
}

// readCommand reads a command for the shell.
func readCommand(n *yamlfile.Node) (string, error) {
	text, err := n.Str()
	if err == nil && strings.TrimSpace(text) == "" {
		err = n.Errorf("%s is empty", n.Path).WithHint("write a command, or remove it")
	}
	if err == nil && strings.Contains(text, "\x00") {
		err = holdsNUL(n)
	}
	return text, err
}

// readCommandLine reads a command for the shell, or a list: a program and its
// arguments, started without one.
func readCommandLine(n *yamlfile.Node) ([]string, error) {
	if n.Kind != yamlfile.List {
		text, err := readCommand(n)
		return []string{"sh", "-c", text}, err
	}
	words, err := n.Strs()
	if err == nil && (len(words) == 0 || words[0] == "") {
		err = n.Errorf("%s names no program", n.Path).WithHint("write a command, such as [node, server.js]")
	}
	if i := slices.IndexFunc(words, func(word string) bool { return strings.Contains(word, "\x00") }); i >= 0 && err == nil {
		err = holdsNUL(n.Items[i])
	}
	return words, err
}
