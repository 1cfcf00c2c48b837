package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completion is the verb completion.
type completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by mayfly completion --help.
func (*completion) Help() string {
	return `For bash, add this line to ~/.bashrc:
  source <(mayfly completion bash)
For zsh or fish, run one of these once:
  mayfly completion zsh > "${fpath[1]}/_mayfly"
  mayfly completion fish > ~/.config/fish/completions/mayfly.fish`
}

// Run is called by kong. The scripts are made of the very commands and flags that
// the parser knows, so they cannot fall behind.
func (c *completion) Run(p *process, model *kong.Application) error {
	write := map[string]func(*strings.Builder, []*kong.Node){"bash": writeBash, "zsh": writeZsh, "fish": writeFish}[c.Shell]
	var b strings.Builder
	write(&b, model.Children)
	_, err := io.WriteString(p.stdout, b.String())
	return err
}

// values returns the allowed words of a flag or argument, if known.
func values(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// allFlags returns the flags of a command with those of all commands.
func allFlags(command *kong.Node) (flags []*kong.Flag) {
	for _, level := range command.AllFlags(true) {
		flags = append(flags, level...)
	}
	return flags
}

// names returns a command's name and aliases.
func names(command *kong.Node) []string { return append([]string{command.Name}, command.Aliases...) }

// namesHere is a shell command that prints the names of functions and services, for
// commands that take one. Any bus client can choose a name, so those that a shell would
// expand are left out.
const namesHere = `mayfly list 2>/dev/null | awk "NR > 1 && \$1 !~ /[^A-Za-z0-9_-]/ { print \$1 }"`

// takesName reports whether a command's first argument is such a name.
func takesName(command *kong.Node) bool {
	return command.Name != "new" && len(command.Positional) > 0 &&
		slices.Contains([]string{"name", "first"}, command.Positional[0].Name)
}

func writeBash(b *strings.Builder, commands []*kong.Node) {
	var all []string
	for _, c := range commands {
		all = append(all, c.Name)
	}
	b.WriteString(`# bash completion for mayfly
_mayfly() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= flags= words= i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} != -* ]]; then
			command=${COMP_WORDS[i]}
			break
		fi
	done
	case $command in
`)
	fmt.Fprintf(b, "	'') words='%s' flags=--help ;;\n", strings.Join(all, " "))
	for _, c := range commands {
		var flags, words []string
		for _, f := range allFlags(c) {
			flags = append(flags, "--"+f.Name)
		}
		for _, a := range c.Positional {
			words = append(words, values(a)...)
		}
		fmt.Fprintf(b, "	%s) words='%s' flags='%s'", strings.Join(names(c), "|"), strings.Join(words, " "), strings.Join(flags, " "))
		if takesName(c) {
			fmt.Fprintf(b, "; [[ $cur == -* ]] || words=$(%s)", namesHere)
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("	esac\n	case $prev in\n")
	seen := map[string]bool{}
	for _, c := range commands {
		for _, f := range allFlags(c) {
			if v := values(f.Value); v != nil && !seen[f.Name] {
				seen[f.Name] = true
				fmt.Fprintf(b, "	--%s) words='%s' flags= ;;\n", f.Name, strings.Join(v, " "))
			}
		}
	}
	b.WriteString(`	esac
	if [[ $cur == -* ]]; then
		words=$flags
	fi
	# Without an answer of ours bash completes file names.
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _mayfly mayfly
`)
}

func writeZsh(b *strings.Builder, commands []*kong.Node) {
	b.WriteString("#compdef mayfly\n# zsh completion for mayfly\n_mayfly() {\n	local line state\n	local -a commands=(\n")
	for _, c := range commands {
		fmt.Fprintf(b, "		%s\n", quote(c.Name+":"+c.Help))
	}
	b.WriteString(`	)
	_arguments -C '(-h --help)'{-h,--help}'[help]' '1: :->command' '*:: :->rest'
	if [[ $state == command ]]; then
		_describe command commands
		return
	fi
	case $line[1] in
`)
	for _, c := range commands {
		fmt.Fprintf(b, "	%s)\n		_arguments", strings.Join(names(c), "|"))
		for _, f := range allFlags(c) {
			spec := fmt.Sprintf("--%s[%s]", f.Name, zshText(f.Help))
			if f.IsCumulative() {
				spec = "*" + spec
			}
			if v := values(f.Value); v != nil {
				spec += ":value:(" + strings.Join(v, " ") + ")"
			} else if !f.IsBool() {
				spec += ":value:_files"
			}
			fmt.Fprintf(b, " \\\n			%s", quote(spec))
		}
		for _, a := range c.Positional {
			if v := values(a); v != nil {
				fmt.Fprintf(b, " \\\n			%s", quote("1:"+a.Name+":("+strings.Join(v, " ")+")"))
			}
		}
		if takesName(c) {
			fmt.Fprintf(b, " \\\n			%s", "'*::name:{ compadd -- $("+namesHere+") }'")
		} else {
			b.WriteString(" \\\n			'*::file:_files'")
		}
		b.WriteString("\n		;;\n")
	}
	// The file is either autoloaded as the function itself or sourced.
	b.WriteString(`	esac
}
if [[ $funcstack[1] == _mayfly ]]; then
	_mayfly "$@"
else
	compdef _mayfly mayfly
fi
`)
}

// zshText keeps a help text within the brackets of an _arguments specification.
func zshText(s string) string {
	return strings.NewReplacer("[", "(", "]", ")", ":", " -", `\`, "/").Replace(s)
}

func writeFish(b *strings.Builder, commands []*kong.Node) {
	b.WriteString("# fish completion for mayfly\n")
	for _, c := range commands {
		fmt.Fprintf(b, "complete -c mayfly -n __fish_use_subcommand -f -a %s -d %s\n", c.Name, quote(c.Help))
	}
	for _, c := range commands {
		on := quote("__fish_seen_subcommand_from " + strings.Join(names(c), " "))
		for _, f := range allFlags(c) {
			fmt.Fprintf(b, "complete -c mayfly -n %s -l %s", on, f.Name)
			if f.Short != 0 {
				fmt.Fprintf(b, " -s %c", f.Short)
			}
			if v := values(f.Value); v != nil {
				fmt.Fprintf(b, " -x -a %s", quote(strings.Join(v, " ")))
			} else if !f.IsBool() {
				b.WriteString(" -r")
			}
			fmt.Fprintf(b, " -d %s\n", quote(f.Help))
		}
		for _, a := range c.Positional {
			if v := values(a); v != nil {
				fmt.Fprintf(b, "complete -c mayfly -n %s -f -a %s\n", on, quote(strings.Join(v, " ")))
			}
		}
		if takesName(c) {
			fmt.Fprintf(b, "complete -c mayfly -n %s -f -a '(%s)'\n", on, namesHere)
		}
	}
}

// quote quotes s for all three shells. Within single quotes only the quote is special; it
// is dropped rather than escaped in three ways.
func quote(s string) string { return "'" + strings.NewReplacer("'", "", `\`, "").Replace(s) + "'" }
