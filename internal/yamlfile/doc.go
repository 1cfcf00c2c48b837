// Package yamlfile reads YAML files and keeps the position of every value, so that each
// error names a line and a column.
//
//	bytes ──Parse──► *Node (a tree of maps, lists and scalars with positions)
//	                   │ Only("http", "subject")   unknown keys, with the nearest one
//	                   │ Get("timeout").Duration() values of a type
//	                   └ Errorf("...")             mayfly.yaml:4:7: ...
//
// It does not fill structs by reflection: the caller asks for the keys it knows and
// decides what a value must be. No other package imports the YAML library.
//
// The language is a strict subset of YAML: one document, unique keys that are text, and
// no tags. An alias stands for a copy of its anchor's value; all of them together are
// bounded, so a small file cannot expand in memory.
//
// # Invariants
//
// No input makes it panic, run for long or overflow the stack. Every error is one line
// with code Invalid that starts with file, line and column: FuzzParse, TestParseNamesThePlaceOfAnError and TestParseBoundsItsWork.
package yamlfile
