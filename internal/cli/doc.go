// Package cli is the command line: it parses the arguments, runs one verb and
// reports the result.
//
//	args, env ──► Main ──► kong ──► verb ──► exit code
//	                                 │ up       node.New, node.Run
//	                                 │ deploy   deploy.Projects ──► registry, nodes
//	                                 │ others   client ──► bus ──► $SRV.INFO, fn.<name>
//	                                 ▼
//	                    stdout: results     stderr: all else
//
// One verb is one file. Shared: process (what a command may touch of the world), client
// (finds the server), store (what is deployed there), nodes (asks the nodes), survey (asks
// all micro services), progress (shows long steps), table and plain (print foreign text
// without control characters). A command that changes something prints the server first.
// Package config has the table of flags, variables and file settings; this package only
// passes on the flags that were given.
//
// It does not read the environment, which main passes in, and decides nothing about calls
// or services: the bus, the gateway and the node do.
//
// # Invariants
//
//   - No arguments make it panic, and an invalid command line is Invalid with a hint:
//     FuzzCommandLine.
//   - Every error has a hint: TestEveryErrorHasAHint.
//   - Nothing that a service says reaches the terminal as a control character:
//     FuzzAnswers, TestLineTextObeysNobody.
//   - What mayfly new writes passes its own tests: TestNewProjectsPassTheirOwnTests.
//   - A command finds the server of the closest source:
//     TestFindServerPrefersTheCloserSource.
//   - Each flag of a node is in a group of the help: TestHelpGroupsEveryFlag.
package cli
