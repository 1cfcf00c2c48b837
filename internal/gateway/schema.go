package gateway

import (
	"bytes"
	"encoding/json"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// JSON Schemas come from services' metadata, and one that makes no sense must not
// spoil the document for everybody. So a schema is copied by these rules:
//
//   - only keywords that JSON Schema knows, each with a value of its form; what
//     has another form is left out, and nothing else with it;
//   - no $id and $schema, which would move the base of every reference;
//   - a $ref points to a schema within the same metadata and ends somewhere;
//     others are left out, because the document must stand alone.

// A form is what the value of a keyword must be.
type form func(c *schemaCopy, at string, depth int, v any) (any, bool)

// formOf returns the form of a keyword of JSON Schema 2020-12, or nil for one that
// a document does not carry.
func formOf(keyword string) form {
	switch keyword {
	case "title", "description", "$comment", "format", "contentEncoding", "contentMediaType":
		return textForm
	case "maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum":
		return numberForm
	case "maxLength", "minLength", "maxItems", "minItems", "maxContains", "minContains", "maxProperties", "minProperties":
		return countForm
	case "deprecated", "readOnly", "writeOnly", "uniqueItems":
		return flagForm
	case "default", "const":
		return anyForm
	case "enum", "examples":
		return listForm
	case "required":
		return namesForm
	case "type":
		return typeForm
	case "multipleOf":
		return positiveForm
	case "pattern":
		return patternForm
	case "$ref":
		return refForm
	case "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties",
		"if", "then", "else", "not", "contentSchema":
		return schemaForm
	case "allOf", "anyOf", "oneOf", "prefixItems":
		return schemasForm
	case "properties", "patternProperties", "dependentSchemas", "$defs":
		return schemaMapForm
	}
	return nil
}

// maxSchemaDepth bounds how deep schemas nest.
const maxSchemaDepth = 64

// A schemaCopy is a schema on its way into the document.
type schemaCopy struct {
	places map[string]map[string]any // every schema within it, by its JSON Pointer
}

// cleanSchema returns the schema in raw by the rules above, at home at place, such
// as #/components/schemas/Order; or nil if raw is none.
func cleanSchema(raw json.RawMessage, place string) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // a float64 would round what is long
	if d.Decode(&v) != nil {
		return nil
	}
	c := &schemaCopy{places: map[string]map[string]any{}}
	schema, ok := schemaForm(c, "", 0, v)
	if !ok {
		return nil
	}
	c.rebase(place)
	return schema
}

// rebase makes the references point below place and drops those that lead nowhere.
func (c *schemaCopy) rebase(place string) {
	moved := map[string]string{}
	for at, schema := range c.places {
		if target, ok := schema["$ref"].(string); ok && c.ends(at) {
			moved[at] = place + target[1:]
		}
	}
	for at, schema := range c.places {
		delete(schema, "$ref")
		target, ok := moved[at]
		switch {
		case !ok:
		case len(schema) == 0:
			schema["$ref"] = target
		default:
			// Many readers overlook what stands beside a reference.
			all, _ := schema["allOf"].([]any)
			schema["allOf"] = append(all, map[string]any{"$ref": target})
		}
	}
}

// ends reports whether the reference of the schema at a place leads to a schema,
// and not in a circle of references.
func (c *schemaCopy) ends(at string) bool {
	for range len(c.places) + 1 {
		target, refers := c.places[at]["$ref"].(string)
		if !refers {
			return true
		}
		pointer, err := url.PathUnescape(target[1:])
		if err != nil || c.places[pointer] == nil {
			return false
		}
		at = pointer
	}
	return false
}

// schemaForm copies a schema. The booleans, which are schemas too, get the form
// of objects for the sake of old tools.
func schemaForm(c *schemaCopy, at string, depth int, v any) (any, bool) {
	if b, ok := v.(bool); ok {
		clean := map[string]any{}
		if !b {
			clean["not"] = map[string]any{}
		}
		c.places[at] = clean
		return clean, true
	}
	given, ok := v.(map[string]any)
	if !ok || depth > maxSchemaDepth {
		return nil, false
	}
	clean := map[string]any{}
	c.places[at] = clean
	for keyword, value := range given {
		if keyword == "definitions" && given["$defs"] == nil {
			keyword = "$defs" // as older drafts called it
		}
		read := formOf(keyword)
		if read == nil {
			continue
		}
		if value, ok := read(c, at+"/"+keyword, depth+1, value); ok {
			clean[keyword] = value
		}
	}
	return clean, true
}

func isSchema(v any) bool {
	switch v.(type) {
	case bool, map[string]any:
		return true
	}
	return false
}

func schemasForm(c *schemaCopy, at string, depth int, v any) (any, bool) {
	given, ok := v.([]any)
	if !ok || len(given) == 0 {
		return nil, false
	}
	for _, v := range given {
		// All or none: without one of them the others mean something else.
		if !isSchema(v) || depth > maxSchemaDepth {
			return nil, false
		}
	}
	clean := make([]any, len(given))
	for i, v := range given {
		clean[i], _ = schemaForm(c, at+"/"+strconv.Itoa(i), depth, v)
	}
	return clean, true
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func schemaMapForm(c *schemaCopy, at string, depth int, v any) (any, bool) {
	given, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	clean := map[string]any{}
	for name, v := range given {
		if strings.HasSuffix(at, "/patternProperties") {
			if _, ok := patternForm(c, at, depth, name); !ok {
				continue
			}
		}
		if schema, ok := schemaForm(c, at+"/"+pointerEscape.Replace(name), depth, v); ok {
			clean[name] = schema
		}
	}
	return clean, true
}

func anyForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) { return v, true }

func textForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	_, ok := v.(string)
	return v, ok
}

// refForm keeps references within the schema.
func refForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	text, _ := v.(string)
	if rest, ok := strings.CutPrefix(text, "#/definitions/"); ok {
		text = "#/$defs/" + rest
	}
	return text, strings.HasPrefix(text, "#")
}

func flagForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	_, ok := v.(bool)
	return v, ok
}

func listForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	list, ok := v.([]any)
	return v, ok && len(list) > 0
}

func numberForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	f, err := n.Float64()
	return v, err == nil && !math.IsInf(f, 0)
}

func positiveForm(c *schemaCopy, at string, depth int, v any) (any, bool) {
	if _, ok := numberForm(c, at, depth, v); !ok {
		return nil, false
	}
	f, _ := v.(json.Number).Float64()
	return v, f > 0
}

func countForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	_, err := strconv.ParseUint(n.String(), 10, 31)
	return v, err == nil
}

func namesForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	seen := map[string]bool{}
	for _, v := range list {
		name, ok := v.(string)
		if !ok || seen[name] {
			return nil, false
		}
		seen[name] = true
	}
	return v, true
}

var schemaTypes = []string{"null", "boolean", "object", "array", "number", "string", "integer"}

func typeForm(c *schemaCopy, at string, depth int, v any) (any, bool) {
	if name, ok := v.(string); ok {
		return v, slices.Contains(schemaTypes, name)
	}
	if _, ok := namesForm(c, at, depth, v); !ok || len(v.([]any)) == 0 {
		return nil, false
	}
	for _, name := range v.([]any) {
		if !slices.Contains(schemaTypes, name.(string)) {
			return nil, false
		}
	}
	return v, true
}

// patternForm keeps regular expressions that Go reads too: those that it does not,
// such as with a look-ahead, trip many readers of the document.
func patternForm(_ *schemaCopy, _ string, _ int, v any) (any, bool) {
	text, ok := v.(string)
	if !ok {
		return nil, false
	}
	_, err := regexp.Compile(text)
	return v, err == nil
}
