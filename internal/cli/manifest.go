package cli

import (
	"cmp"
	"path/filepath"
	"strings"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/project"
)

// manifest is the verb manifest.
type manifest struct {
	Path   string `arg:"" optional:"" help:"Project to check."`
	Schema bool   `name:"schema" help:"Print the JSON Schema of mayfly.yaml, for editors."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Help is shown by mayfly manifest --help.
func (*manifest) Help() string {
	return `PATH is a mayfly.yaml, a folder, or a file that is one function; it defaults to
the current folder. Nothing is built, and no server is asked.

  mayfly manifest --schema > mayfly.schema.json`
}

// A meaning is one item of a manifest.
type meaning struct {
	Kind string   `json:"kind"` // function, service or route
	Name string   `json:"name"`
	From string   `json:"from"` // code, or the route's target
	HTTP []string `json:"http"`
}

// Run is called by kong.
func (m *manifest) Run(p *process) error {
	if m.Schema {
		if m.Path != "" {
			return mayfly.Errorf(mayfly.Invalid, "--schema takes no PATH").WithHint("run mayfly manifest --schema")
		}
		_, err := p.stdout.Write(project.Schema())
		return err
	}
	one, err := project.Open(cmp.Or(m.Path, "."), p.lookup)
	if err != nil {
		return err
	}
	all := meaningsOf(one)
	if m.JSON {
		return writeJSON(p.stdout, map[string]any{"project": one.Name, "file": one.File, "lists": all})
	}
	head := table{{"project", string(one.Name)}, {"from", p.fromFolder(one.File)}}
	if err := head.print(p.stdout, ""); err != nil {
		return err
	}
	t := table{{"KIND", "NAME", "FROM", "HTTP"}}
	for _, l := range all {
		t.add(l.Kind, l.Name, l.From, dash(strings.Join(l.HTTP, ", ")))
	}
	return t.print(p.stdout, "")
}

// fromFolder shortens a path below the current folder.
func (p *process) fromFolder(file string) string {
	if here, err := filepath.Abs("."); err == nil {
		if below, err := filepath.Rel(here, file); err == nil && filepath.IsLocal(below) {
			return below
		}
	}
	return p.tilde(file)
}

func meaningsOf(one *project.Project) []meaning {
	all := []meaning{} // not nil: in JSON an empty list is []
	from := func(code string) string {
		if below, ok := strings.CutPrefix(code, one.Folder+"/"); ok {
			return below
		}
		return "."
	}
	for _, s := range one.Functions {
		http := []string{"/fn/" + s.Name}
		for _, pattern := range s.Unit.HTTP {
			http = append(http, pattern.String())
		}
		all = append(all, meaning{"function", s.Name, from(s.Code), http})
	}
	for _, s := range one.Services {
		all = append(all, meaning{"service", s.Name, from(s.Code), []string{}})
	}
	for _, r := range one.Routes {
		all = append(all, meaning{"route", r.Name, r.Target(), []string{r.Pattern.String()}})
	}
	return all
}
