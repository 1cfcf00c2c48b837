package cli

import (
	"strings"

	"github.com/mayfly-run/mayfly/internal/config"
)

// configVerb is the verb config.
type configVerb struct {
	File string `name:"config" help:"Config file to read instead of the user's own." placeholder:"FILE"`
	JSON bool   `name:"json" help:"Print JSON."`
}

// Help is shown by mayfly config --help.
func (*configVerb) Help() string {
	return `Shows the settings that a node started here would have. Set one with a flag of
mayfly up (--gateway.addr), an environment variable (MAYFLY_GATEWAY_ADDR) or the
config file (addr under gateway:); the first of these wins. Secrets are never
shown.`
}

// Run is called by kong.
func (c *configVerb) Run(p *process) error {
	loaded, err := p.load(config.Config{}, c.File)
	if err != nil {
		return err
	}
	if c.JSON {
		type setting struct {
			Key   string `json:"key"`
			Value string `json:"value"`
			From  string `json:"from"`
		}
		all := make([]setting, 0, len(loaded.Settings))
		for _, s := range loaded.Settings {
			all = append(all, setting{s.Name, s.Text, s.From})
		}
		return writeJSON(p.stdout, all)
	}
	t := table{{"KEY", "VALUE", "FROM"}}
	for _, s := range loaded.Settings {
		t.add(s.Name, dash(s.Text), p.fromHere(s.From))
	}
	return t.print(p.stdout, "")
}

// fromHere shortens the file's path in a setting's source.
func (p *process) fromHere(from string) string {
	if path, ok := strings.CutPrefix(from, "file "); ok {
		return "file " + p.tilde(path)
	}
	return from
}
