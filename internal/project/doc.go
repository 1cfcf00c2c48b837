// Package project turns files into something that runs: it reads mayfly.yaml, or detects
// what a file or folder is, and builds it.
//
//	path ──Open──► mayfly.yaml ──Parse──► Project{Routes, Functions, Services}
//	       │ .env ─┐              │                           │ Source
//	       │  env ─┴─► ${NAME} ───┘                         Build ──► shim, npm, pip, go, sh
//	       └─► detect, nameOf ──► Project of one Source       ▼
//	                                          Built{Function, Folder, Inputs}
//
// A key of the manifest is one row of a table (functionKeys, routeKeys, ...): how it is
// read, its JSON Schema, its default and its line in the manual. To add a key, add a
// row.
//
// Every error in a manifest names file, line and column and, for a mistyped word, the
// nearest one. What Parse returns needs no further checks: names, patterns, subjects
// and templates have parsed types, and no two routes or functions overlap.
//
// Build inspects a Source anew each time, so one that was opened once can be rebuilt
// after each change. The folder that a build makes is ready to run; bundle packs it for
// other nodes.
//
// It does not use the network: whether a subject has responders shows when a call
// arrives. It starts only tools; whether a program works shows when runner starts it.
//
// # Invariants
//
//   - Each mistake has its own message and place: TestParseNamesEachMistake.
//   - No text makes Parse panic, and one http.ServeMux can serve all that it accepts: FuzzParse.
//   - Parse rejects whatever the JSON Schema rejects, and both accept every example of
//     the manual: TestSchemaAgreesWithParse, TestManualsExamplesAreProjects.
//   - The manual lists the keys as the tables have them, and defaults are those that
//     hold: TestManualListsEveryKey, TestDefaultsAreTheRealOnes.
//   - The environment fills values, never keys: TestVariablesFillValues.
//   - A schema's file is below the manifest's folder: TestSchemaFiles.
//   - Detection follows the table in the manual: TestDetectKnowsEachRow,
//     TestDetectSaysWhatItLookedFor, TestNamesFromFiles.
//   - A build writes nothing into the user's folder and leaves nothing behind if it
//     fails: TestBuildMakesEachLanguageRun, TestBuildRefusesHostileFolders.
//   - JavaScript finds its files and packages wherever the output runs:
//     TestJavaScriptFindsItsFilesAndPackages.
//   - Equal code builds to equal files: TestBuildIsTheSameTwice.
//   - Packages are installed once per lock file or requirements: TestPackagesOfNPMAreInstalledOnce,
//     TestPackagesOfPipAreInstalledOnce.
package project
