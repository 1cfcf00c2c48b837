// Package yamlfile reads the YAML that people write for Mayfly and remembers
// where everything stands, so that each error can name a line and a column.
//
//	bytes ──Parse──► *Node (a tree of maps, lists and scalars with positions)
//	                   │ Only("http", "subject")   unknown keys, with the nearest one
//	                   │ Get("timeout").Duration() values of a type
//	                   └ Errorf("...")             mayfly.yaml:4:7: ...
//
// It does not fill structs by reflection: the reader of a file asks for the keys
// it knows, in the order it likes, and says itself what a value must be. It is
// the only package that knows the YAML library.
//
// The language is a strict part of YAML: one document, keys that are text and
// stand there once, and no anchors, aliases, merge keys and tags. So a file means
// what it shows, and no small file grows in memory.
//
// # Invariants
//
// No input makes it panic, run for long or overflow the stack, and every error is
// a *mayfly.Error of one line with code Invalid that starts with file, line and
// column: FuzzParse, TestParseNamesThePlaceOfAnError and TestParseBoundsItsWork.
package yamlfile
