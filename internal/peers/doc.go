// Package peers is what nodes say to each other and to the command line: both ends of the
// subjects mayfly.nodes, mayfly.node.<node>.* and mayfly.routes.
//
//	Peers.List, Routes ───── mayfly.nodes, mayfly.routes ────► every Answerer
//	Peers.State, Prepare ─── mayfly.node.<node>.state, … ────► one Answerer ──► Options' functions
//
// docs/protocol.md has the format of each question and answer. Nodes of two versions may
// share a bus, so an answer carries the version of its format as v. Fields are only added;
// v grows when a reader of the old format would misread the new one. An answer without v
// is of the build before v existed: its names differ in case alone, which encoding/json
// ignores.
//
// It does not know what a node runs or how: the node hands it functions. Presence,
// direct calls, cancel and streams between nodes belong here too.
//
// # Invariants
//
//   - No question or answer shows the values of env:
//     TestNoValueOfEnvLeavesTheNode.
//   - An answer of the build before is understood, and its values of env go no
//     further: TestAnswersOfTheBuildBeforeAreUnderstood.
//   - Fields that this version does not know are passed on: TestUnknownFieldsAreKept.
//   - An answer never chooses the next subject to ask:
//     TestNodesWithoutAProperIDAreSkipped.
package peers
