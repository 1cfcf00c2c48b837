// Package peers is what nodes say to each other, and to the command line: the
// subjects mayfly.nodes, mayfly.node.<node>.* and mayfly.routes, both ends of each.
//
//	Peers.List, Routes ───── mayfly.nodes, mayfly.routes ────► every Answerer
//	Peers.State, Prepare ─── mayfly.node.<node>.state, … ────► one Answerer ──► Options' functions
//
// docs/protocol.md has the shape of each question and answer. Nodes of two versions
// meet on one bus, so an answer carries the version of its format as v. Fields are
// only added; v grows when a reader of the old format would misread the new one.
// An answer without v is of the build before there was one: its names differ in case
// alone, which encoding/json does not mind.
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
//   - What somebody answers never chooses the subject that is asked next:
//     TestNodesWithoutAProperIDAreSkipped.
package peers
