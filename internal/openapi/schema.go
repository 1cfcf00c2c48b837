package openapi

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mayfly-run/mayfly"
)

// Bounds on a schema, because metadata comes from anybody on the bus. The compiler
// takes quadratic time in subschemas, and indenting takes it in depth.
const (
	maxSchemaBytes = 256 << 10
	maxSchemaDepth = 128 // of its JSON
	maxSubschemas  = 2000
	maxRefs        = 64 // from one reference to the next
)

// Schema returns raw, a JSON Schema of any draft, in a form that stands within an
// OpenAPI 3.1 document at place, such as #/components/schemas/Order, or alone if
// place is "#". The error, Invalid, says why raw cannot be used.
//
// A copy holds only keywords of JSON Schema 2020-12, and neither $id nor $schema,
// which would move the base of every reference. A $ref that leaves the schema, or
// never arrives at one, is dropped, as are regular expressions that Go cannot read:
// those trip many readers of the document. Nothing is ever loaded from elsewhere.
func Schema(raw json.RawMessage, place string) (map[string]any, error) {
	if len(raw) > maxSchemaBytes {
		return nil, invalid("%d bytes are more than %d", len(raw), maxSchemaBytes)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a float64 would round long integers
	var given any
	if err := d.Decode(&given); err != nil {
		return nil, invalid("%w", err)
	}
	if err := bounded(given, 0); err != nil {
		return nil, err
	}
	c := schemaCopy{places: map[string]map[string]any{}}
	schema, ok := c.schema("", given).(map[string]any)
	if !ok {
		return nil, invalid("it is neither an object nor a boolean")
	}
	if len(c.places) > maxSubschemas {
		return nil, invalid("%d subschemas are more than %d", len(c.places), maxSubschemas)
	}
	c.dropDeadRefs()
	if err := compile(schema); err != nil {
		return nil, invalid("%w", err)
	}
	c.rebase(place)
	return schema, nil
}

func invalid(format string, args ...any) error {
	return mayfly.Errorf(mayfly.Invalid, "unusable JSON Schema: "+format, args...)
}

// bounded rejects values that are nested too deeply, and numbers that no float64
// holds or whose exponent would make an arbitrary-precision reader allocate
// megabytes.
func bounded(v any, depth int) error {
	if depth > maxSchemaDepth {
		return invalid("it is nested more than %d deep", maxSchemaDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, v := range v {
			if err := bounded(v, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, v := range v {
			if err := bounded(v, depth+1); err != nil {
				return err
			}
		}
	case json.Number:
		_, exponent, _ := strings.Cut(strings.ToLower(v.String()), "e")
		if _, err := v.Float64(); err != nil || len(exponent) > len("-999") {
			return invalid("the number %.20s is out of range", v)
		}
	}
	return nil
}

// compile checks that schema, whose references are its own, is JSON Schema 2020-12.
func compile(schema map[string]any) error {
	const home = "mayfly:schema"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nil) // the default would read files
	c.UseRegexpEngine(func(string) (jsonschema.Regexp, error) { return unmatched{}, nil })
	if err := c.AddResource(home, schema); err != nil {
		return err
	}
	_, err := c.Compile(home)
	return err
}

// unmatched stands for regular expressions, which the copy has checked: a compiled
// one may take megabytes, and none is ever matched.
type unmatched struct{}

func (unmatched) MatchString(string) bool { return false }
func (unmatched) String() string          { return "" }

// A schemaCopy is a schema being copied.
type schemaCopy struct {
	places map[string]map[string]any // every subschema by its JSON Pointer
}

// schema copies one. A boolean gets the form of an object for the sake of old
// tools; what is not a schema stays as it is, for the compiler to reject.
func (c schemaCopy) schema(at string, v any) any {
	clean := map[string]any{}
	switch v := v.(type) {
	case bool:
		if !v {
			clean["not"] = map[string]any{}
		}
	case map[string]any:
		for keyword, value := range v {
			keyword = modern(keyword, v)
			if value, ok := c.value(at, keyword, value); ok {
				clean[keyword] = value
			}
		}
	default:
		return v
	}
	c.places[at] = clean
	return clean
}

// modern returns the name that draft 2020-12 has for a keyword of schema.
func modern(keyword string, schema map[string]any) string {
	_, tuple := schema[keyword].([]any)
	switch {
	case keyword == "definitions" && schema["$defs"] == nil:
		return "$defs"
	case keyword == "items" && tuple && schema["prefixItems"] == nil:
		return "prefixItems"
	}
	return keyword
}

// value copies the value of a keyword, or reports false for one that the copy goes
// without.
func (c schemaCopy) value(at, keyword string, v any) (any, bool) {
	at += "/" + keyword
	switch keyword {
	case "title", "description", "$comment", "format", "contentEncoding", "contentMediaType", "type", "required", "default", "const",
		"deprecated", "readOnly", "writeOnly", "uniqueItems", "multipleOf", "maximum", "minimum", "examples":
		return v, true
	case "exclusiveMaximum", "exclusiveMinimum":
		_, draft4 := v.(bool)
		return v, !draft4
	case "enum":
		list, ok := v.([]any)
		return v, !ok || len(list) > 0
	case "maxLength", "minLength", "maxItems", "minItems", "maxContains", "minContains", "maxProperties", "minProperties":
		n, _ := v.(json.Number)
		_, err := strconv.ParseUint(n.String(), 10, 31) // readers of the document take no 1e3
		return v, err == nil
	case "pattern":
		text, ok := v.(string)
		return v, !ok || readable(text)
	case "$ref":
		text, _ := v.(string)
		if rest, old := strings.CutPrefix(text, "#/definitions/"); old {
			text = "#/$defs/" + rest
		}
		return text, strings.HasPrefix(text, "#")
	case "properties", "patternProperties", "dependentSchemas", "$defs":
		return c.schemaMap(at, v), true
	case "allOf", "anyOf", "oneOf", "prefixItems":
		return c.schemaList(at, v), true
	case "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties",
		"if", "then", "else", "not", "contentSchema":
		return c.schema(at, v), true
	}
	return nil, false
}

func (c schemaCopy) schemaList(at string, v any) any {
	given, ok := v.([]any)
	if !ok {
		return v
	}
	clean := make([]any, len(given))
	for i, v := range given {
		clean[i] = c.schema(at+"/"+strconv.Itoa(i), v)
	}
	return clean
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func (c schemaCopy) schemaMap(at string, v any) any {
	given, ok := v.(map[string]any)
	if !ok {
		return v
	}
	clean := make(map[string]any, len(given))
	for name, v := range given {
		if !strings.HasSuffix(at, "/patternProperties") || readable(name) {
			clean[name] = c.schema(at+"/"+pointerEscape.Replace(name), v)
		}
	}
	return clean
}

// readable reports whether Go reads a regular expression.
func readable(text string) bool {
	_, err := syntax.Parse(text, syntax.Perl)
	return err == nil
}

// dropDeadRefs drops references that lead nowhere.
func (c schemaCopy) dropDeadRefs() {
	var dead []map[string]any
	for _, schema := range c.places {
		if !c.ends(schema) {
			dead = append(dead, schema)
		}
	}
	for _, schema := range dead {
		delete(schema, "$ref")
	}
}

// ends reports whether a schema's reference, if it has one, leads to a schema in a
// few steps and not around in a circle.
func (c schemaCopy) ends(schema map[string]any) bool {
	for range maxRefs {
		target, refers := schema["$ref"].(string)
		if !refers {
			return true
		}
		pointer, err := url.PathUnescape(target[1:])
		if err != nil || c.places[pointer] == nil {
			return false
		}
		schema = c.places[pointer]
	}
	return false
}

// rebase makes the references point below place. One that has neighbors moves into
// an allOf: many readers overlook what stands beside a reference.
func (c schemaCopy) rebase(place string) {
	for _, schema := range c.places {
		target, refers := schema["$ref"].(string)
		if !refers {
			continue
		}
		target = place + target[1:]
		if len(schema) == 1 {
			schema["$ref"] = target
			continue
		}
		delete(schema, "$ref")
		all, _ := schema["allOf"].([]any)
		schema["allOf"] = append(all, map[string]any{"$ref": target})
	}
}
