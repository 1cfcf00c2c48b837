package project

import (
	_ "embed"
	"slices"
)

//go:embed manifest.schema.json
var manifestSchema []byte

// Schema returns the JSON Schema (2020-12) of a manifest, for editors. What it
// accepts may still be refused: that two routes clash, or that a file is not there,
// no schema can tell. What it refuses is refused by Parse too.
func Schema() []byte { return slices.Clone(manifestSchema) }
