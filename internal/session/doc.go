// Package session is the loop of development behind `mayfly up PATH`: it builds
// what the projects at PATH list, gives it to the node's runner, watches the files,
// and builds again what a saved file belongs to.
//
//	save ──► Watcher ──► unit ──► project.Build ──► Runner.Prepare ──► Runner.Set
//	                       │            │ error           │ error
//	                       └────────────┴─────────────────┴──► Tell; the last good one stays
//
// What it serves is gone at the end of the process: only a deploy writes the
// registry. Each function and service is a unit with a goroutine of its own while
// there is something to build, so that a slow compiler holds up nobody else. A
// manifest that changes is read anew; one that makes no sense is told of and
// changes nothing.
//
// Invariants, and the tests that guard them:
//   - a saved file is what the next call runs: TestSavedFileIsServed
//   - a build that fails leaves the last good one: TestFailedBuildKeepsTheLastGoodOne
//   - what leaves the manifest leaves the node: TestManifestIsFollowed
//   - of saves in a row the last one is served: TestLastSaveWins
package session
