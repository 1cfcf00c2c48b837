package config

import (
	"encoding"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-run/mayfly"
)

// A Key is one row of the table: a setting.
type Key struct {
	Name    string // such as gateway.addr
	Help    string
	Default string
	Enum    []string // the allowed values; nil for any
	Secret  bool

	above0 bool
	index  []int // of the field in Config
}

// Keys returns every key, in the order of Config.
func Keys() []Key {
	return appendKeys(nil, reflect.TypeFor[Config](), "", nil)
}

func appendKeys(keys []Key, group reflect.Type, prefix string, index []int) []Key {
	for i := range group.NumField() {
		f := group.Field(i)
		at := append(slices.Clone(index), i)
		if _, ok := f.Tag.Lookup("embed"); ok {
			keys = appendKeys(keys, f.Type, prefix+f.Tag.Get("prefix"), at)
			continue
		}
		k := Key{Name: prefix + f.Tag.Get("name"), Help: f.Tag.Get("help"), Default: f.Tag.Get("default"), index: at}
		if enum, ok := f.Tag.Lookup("enum"); ok {
			k.Enum = strings.Split(enum, ",")
		}
		_, k.Secret = f.Tag.Lookup("secret")
		_, k.above0 = f.Tag.Lookup("above0")
		keys = append(keys, k)
	}
	return keys
}

// Flag returns the key's name on the command line.
func (k Key) Flag() string { return "--" + k.Name }

// Env returns the key's name in the environment.
func (k Key) Env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// field returns the key's place in c.
func (k Key) field(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(k.index)
}

// set parses text into the key's place in c. Errors have code Invalid and begin
// with the text.
func (k Key) set(c *Config, text string) error {
	if k.Enum != nil && !slices.Contains(k.Enum, text) {
		return mayfly.Errorf(mayfly.Invalid, "%q is not one of %s", mayfly.Clip(text), strings.Join(k.Enum, ", "))
	}
	f := k.field(c)
	switch v := f.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return v.UnmarshalText([]byte(text))
	case *string:
		*v = text
	case *[]string:
		*v = nil
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*v = append(*v, item)
			}
		}
	case *time.Duration:
		return parse(v, text, time.ParseDuration, "a duration", "try 500ms, 30s or 1h30m")
	case *bool:
		return parse(v, text, strconv.ParseBool, "true or false", "")
	case *int:
		return parse(v, text, strconv.Atoi, "a whole number", "")
	default:
		panic("config: no parser for the type of " + k.Name)
	}
	return nil
}

// parse sets v to the value of text, which must be what.
func parse[V any](v *V, text string, read func(string) (V, error), what, hint string) (err error) {
	if *v, err = read(text); err != nil {
		return mayfly.Errorf(mayfly.Invalid, "%q is not %s", mayfly.Clip(text), what).WithHint("%s", hint)
	}
	return nil
}

// text returns the key's value in c in the form that set reads, without secrets.
func (k Key) text(c *Config) string {
	switch v := k.field(c).Interface().(type) {
	case string:
		if k.Secret && v != "" {
			return "(set)"
		}
		if k.Name == "nats" {
			return redact(v)
		}
		return v
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return ShortDuration(v)
	case Bytes:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	default:
		panic("config: no text for the type of " + k.Name)
	}
}

// redact hides passwords and tokens in the URLs of servers.
func redact(servers string) string {
	list := strings.Split(servers, ",")
	for i, s := range list {
		if !strings.Contains(s, "@") {
			continue
		}
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.User == nil {
			list[i] = "(set)@" + s[strings.LastIndexByte(s, '@')+1:]
			continue
		}
		// In a NATS URL a user without a password is a token.
		if _, ok := u.User.Password(); !ok {
			u.User = url.User("xxxxx")
		}
		list[i] = u.Redacted()
	}
	return strings.Join(list, ",")
}

// ShortDuration returns 2m where the standard library has 2m0s.
func ShortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
