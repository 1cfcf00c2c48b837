package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/mayfly-run/mayfly"
	"github.com/mayfly-run/mayfly/internal/bus"
	"github.com/mayfly-run/mayfly/internal/config"
	"github.com/mayfly-run/mayfly/internal/peers"
	"github.com/mayfly-run/mayfly/internal/secrets"
	"github.com/mayfly-run/mayfly/internal/yamlfile"
	"golang.org/x/term"
)

// secret is the verb secret.
type secret struct {
	client    `embed:""`
	Action    string   `arg:"" enum:"set,ls,rm" help:"What to do: set, ls or rm."`
	Names     []string `arg:"" optional:"" name:"name" help:"Names of secrets."`
	SecretKey string   `name:"secret-key" help:"File with the key that encrypts secrets. By default secret.key in the data folder of the node on this machine." placeholder:"FILE"`
	JSON      bool     `name:"json" help:"Print JSON (ls only)."`
}

// Help is shown by mayfly secret --help.
func (*secret) Help() string {
	return `A function receives the secrets that mayfly.yaml lists for it: api-key as the
variable API_KEY. set restarts the instances that use the secret, one by one.

set asks for the value, or reads it from a pipe or file; a line break at the end
is dropped. Secrets are encrypted with a key that the nodes have and the NATS
server does not, so run set on a node's machine, or with a copy of secret.key.

  mayfly secret set api-key < key.txt
  mayfly secret ls`
}

// Run is called by kong.
func (s *secret) Run(ctx context.Context, p *process) error {
	names, err := s.names()
	if err != nil {
		return err
	}
	switch s.Action {
	case "set":
		return s.set(ctx, p, names[0])
	case "rm":
		return s.remove(ctx, p, names)
	default:
		return s.list(ctx, p)
	}
}

// names checks the arguments. It rejects a value among them: too late for this one, but
// the user learns of it.
func (s *secret) names() ([]mayfly.Name, error) {
	switch {
	case s.Action == "ls" && len(s.Names) > 0:
		return nil, mayfly.Errorf(mayfly.Invalid, "ls takes no name").WithHint("run mayfly secret ls")
	case s.Action != "ls" && len(s.Names) == 0:
		return nil, mayfly.Errorf(mayfly.Invalid, "NAME is missing").WithHint("run mayfly secret %s NAME", s.Action)
	case s.Action == "set" && len(s.Names) > 1:
		return nil, mayfly.Errorf(mayfly.Invalid, "a secret's value cannot be an argument: process lists and the shell's history would show it").
			WithHint("run mayfly secret set NAME and type it, or mayfly secret set NAME < FILE")
	}
	var all []mayfly.Name
	for _, text := range s.Names {
		name, err := mayfly.ParseName(text)
		if err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	return all, nil
}

// change opens the secrets of a server, whose address it prints.
func (s *secret) change(ctx context.Context, p *process, withKey bool) (*bus.Bus, *secrets.Secrets, error) {
	b, err := s.open(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	p.note("%s", b.URL())
	kept, err := s.secrets(ctx, p, b, withKey)
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return b, kept, nil
}

func (s *secret) set(ctx context.Context, p *process, name mayfly.Name) error {
	b, kept, err := s.change(ctx, p, true)
	if err != nil {
		return err
	}
	defer b.Close()
	value, err := readSecret(p, name)
	if err != nil {
		return err
	}
	if err := kept.Set(ctx, name, value); err != nil {
		return err
	}
	if _, err = fmt.Fprintf(p.stdout, "%s set; functions receive it as %s\n", name, secrets.EnvName(name)); err != nil {
		return err
	}
	_, err = p.restart(ctx, b, peers.Restart{Secret: name})
	return err
}

func (s *secret) remove(ctx context.Context, p *process, names []mayfly.Name) error {
	b, kept, err := s.change(ctx, p, false)
	if err != nil {
		return err
	}
	defer b.Close()
	for _, name := range names {
		if err := kept.Remove(ctx, name); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.stdout, "%s removed\n", name); err != nil {
			return err
		}
	}
	return nil
}

func (s *secret) list(ctx context.Context, p *process) error {
	b, err := s.open(ctx, p)
	if err != nil {
		return err
	}
	defer b.Close()
	type listed struct {
		Name    mayfly.Name `json:"name"`
		Env     string      `json:"env"`
		Size    int         `json:"size"`
		Updated time.Time   `json:"updated"`
	}
	all := []listed{} // not nil: in JSON an empty list is []
	there, err := has(ctx, b, "KV_"+mayfly.BucketSecrets)
	if err != nil {
		return err
	}
	if there {
		kept, err := s.secrets(ctx, p, b, false)
		if err != nil {
			return err
		}
		found, err := kept.List(ctx)
		if err != nil {
			return err
		}
		for _, one := range found {
			all = append(all, listed{one.Name, secrets.EnvName(one.Name), one.Size, one.Updated})
		}
	}
	if s.JSON {
		return writeJSON(p.stdout, all)
	}
	if len(all) == 0 {
		p.note("no secrets at %s", b.URL())
		return nil
	}
	t := table{{"NAME", "VARIABLE", "BYTES", "UPDATED"}}
	for _, one := range all {
		t.add(string(one.Name), one.Env, count(one.Size), one.Updated.Local().Format(time.DateTime))
	}
	return t.print(p.stdout, "")
}

// secrets opens the secrets. Only setting one needs the key, which must be that of the
// nodes.
func (s *secret) secrets(ctx context.Context, p *process, b *bus.Bus, withKey bool) (*secrets.Secrets, error) {
	loaded, err := p.load(config.Config{Data: s.Data, SecretKey: s.SecretKey}, "")
	if err != nil {
		return nil, err
	}
	o := secrets.Options{KeyFile: loaded.SecretKey, Folder: s.local(p, b).Folder}
	switch {
	case !withKey || o.KeyFile != "" || o.Folder != "":
	case loaded.Data != "":
		o.KeyFile = filepath.Join(loaded.Data, "secret.key") // the node is not asked, so no key is created there
	default:
		return nil, mayfly.Errorf(mayfly.Denied, "cannot find secret.key for the node at %s", b.URL()).
			WithHint("run this on the node's machine, or pass --data FOLDER or --secret-key FILE")
	}
	if !withKey {
		o = secrets.Options{Folder: os.TempDir()} // nothing is read there
	}
	return secrets.Open(ctx, b, o)
}

// readSecret prompts a person without echo, or reads the piped input.
func readSecret(p *process, name mayfly.Name) (value []byte, err error) {
	if isTerminal(p.stdin) {
		fmt.Fprintf(p.stderr, "value of %s: ", name)
		value, err = term.ReadPassword(int(p.stdin.(*os.File).Fd()))
		fmt.Fprintln(p.stderr)
	} else {
		value, err = io.ReadAll(io.LimitReader(p.stdin, secrets.MaxValue+5)) // and a byte order mark and a line break
		value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
		if utf8.Valid(value) {
			value = yamlfile.Text(value)
		}
	}
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, "read the value: %w", err)
	}
	if len(value) == 0 {
		return nil, mayfly.Errorf(mayfly.Invalid, "the value of %s is empty", name).
			WithHint("type a value, or read it from a file: mayfly secret set %s < FILE", name)
	}
	return value, nil
}
