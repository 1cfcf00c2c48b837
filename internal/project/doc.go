// Package project reads mayfly.yaml: what one folder wants to be served.
//
//	folder ──Open──► mayfly.yaml ──Parse──► Project{Name, Routes}
//	            .env ─┐              │
//	     environment ─┴─► ${NAME} ───┘
//
// Every error names file, line and column and, where a word is mistyped, the
// nearest one. What Parse returns needs no further check: patterns, subjects and
// templates are of parsed types, and no two routes take the same requests.
//
// It does not look at the network: whether somebody listens on a route's subject
// shows when a call comes. It does not know functions and services yet and says so.
//
// # Invariants
//
//   - Each mistake has its message, at its place: TestParseNamesEachMistake.
//   - No text makes Parse panic, and all that it accepts can be served by one
//     http.ServeMux: FuzzParse.
//   - The environment fills values, never keys: TestVariablesFillValues.
//   - A schema's file lies in the manifest's folder: TestSchemaFiles.
package project
