package cli

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-run/mayfly"
)

// newVerb is the verb new.
type newVerb struct {
	Name string `arg:"" help:"Name of the function and of the new folder."`
	Lang string `name:"lang" short:"l" enum:"js,ts,py,go,sh" default:"js" help:"Language: js, ts, py, go or sh."`
}

// Help is shown by mayfly new --help.
func (*newVerb) Help() string {
	return `Creates the folder NAME with a function, a test that runs with the language's
own tools, a mayfly.yaml and a README. A folder that is not empty is left alone.`
}

// templates holds a folder for each language. In its files {{name}} is the function's
// name, and {{path}} the same where no quotes are needed.
//
//go:embed templates
var templates embed.FS

// templateSuffix keeps tools from treating the files as our own code.
const templateSuffix = ".tmpl"

// Run is called by kong.
func (n *newVerb) Run(p *process) error {
	// A path is fine: its last part is the name.
	folder := filepath.Clean(n.Name)
	name, err := mayfly.ParseName(filepath.Base(folder))
	if err != nil {
		return err
	}
	if err := empty(folder); err != nil {
		return err
	}
	from := path.Join("templates", n.Lang)
	files, err := fs.ReadDir(templates, from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return cannotWrite(folder, err)
	}
	for _, f := range files {
		text, err := fs.ReadFile(templates, path.Join(from, f.Name()))
		if err != nil {
			return err
		}
		file := filepath.Join(folder, strings.TrimSuffix(f.Name(), templateSuffix))
		word := string(name)
		if filepath.Ext(file) == ".yaml" {
			word = yamlWord(word)
		}
		if err := writeNew(file, strings.NewReplacer("{{name}}", word, "{{path}}", string(name)).Replace(string(text))); err != nil {
			return cannotWrite(file, err)
		}
		if _, err := fmt.Fprintln(p.stdout, file); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(p.stdout, "\nnext:\n  mayfly up %s\n  %s\n", folder, tryNew(n.Lang, name))
	return err
}

// tryNew returns a command that calls the function that mayfly up runs.
func tryNew(lang string, name mayfly.Name) string {
	if lang == "sh" {
		return "curl -d Ada localhost:8080/fn/" + string(name)
	}
	return "curl 'localhost:8080/fn/" + string(name) + "?name=Ada'"
}

// empty rejects a path that is not an empty folder.
func empty(folder string) error {
	there, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return mayfly.Errorf(mayfly.Conflict, "%s exists and is not a readable folder", folder).WithHint("choose another name")
	case len(there) > 0:
		return mayfly.Errorf(mayfly.Conflict, "folder %s is not empty", folder).WithHint("choose another name, or empty it first")
	}
	return nil
}

// writeNew writes a file that must not exist: of two concurrent runs for one project,
// one fails.
func writeNew(file, text string) error {
	mode := fs.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func cannotWrite(file string, err error) error {
	return mayfly.Errorf(mayfly.Unavailable, "cannot write %s: %w", file, err).WithHint("free some space, or choose a folder you can write to")
}

// yamlWord quotes a name that YAML would read as a number or a boolean.
func yamlWord(name string) string {
	if name[0] <= '9' || slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, name) {
		return strconv.Quote(name)
	}
	return name
}
