// Package session is the development loop behind `mayfly up PATH`: it builds what the
// projects at PATH list, gives it to the node's runner, watches the files, and rebuilds
// what a saved file affects.
//
//	save ──► Watcher ──► unit ──► project.Build ──► Runner.Prepare ──► Runner.Set
//	                       │            │ error           │ error
//	                       └────────────┴─────────────────┴──► Tell; the last good one stays
//
// What it serves ends with the process: only a deploy writes the registry. Each function
// and service is a unit with its own goroutine while there is something to build, so a
// slow compiler delays no other unit. A changed manifest is read again; an invalid one is
// reported and changes nothing.
//
// Invariants, and the tests that guard them:
//   - a saved file is what the next call runs: TestSavedFileIsServed
//   - a build that fails leaves the last good one: TestFailedBuildKeepsTheLastGoodOne
//   - what leaves the manifest leaves the node: TestManifestIsFollowed
//   - a secret that was missing builds what uses it: TestSecretThatWasMissingBuildsAgain
//   - what a build or a manifest lacked is built when it comes: TestWhatWasMissingIsBuiltWhenItComes,
//     TestPackageThatIsInstalledLaterBuildsAgain
//   - a touch and a turned link are changes: TestTouchAndLinksAreChanges
//   - of very many functions those that are called start first, the rest a few at a time:
//     TestNotEverythingStartsAtOnce
//   - calls find what is not built yet from the first moment: TestUnitsAreAnnouncedAtOnce
//   - what is called is built first: TestWhatIsCalledIsBuiltFirst
//   - each function runs on the Python of its folder: TestEachFolderRunsOnItsPython
//   - a save counts from the first change not built yet: TestTookCountsFromTheFirstSave
//   - of saves in a row the last one is served: TestLastSaveWins
package session
