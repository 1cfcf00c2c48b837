// Package project goes from what lies on disk to what can be run: it reads
// mayfly.yaml, or sees from a file or folder what it is, and builds it.
//
//	path ──Open──► mayfly.yaml ──Parse──► Project{Routes, Functions, Services}
//	       │ .env ─┐              │                           │ Source
//	       │  env ─┴─► ${NAME} ───┘                         Build ──► shim, npm, pip, go, sh
//	       └─► detect, nameOf ──► Project of one Source       ▼
//	                                          Built{Function, Folder, Inputs}
//
// A key of the manifest is one row of a table (functionKeys, routeKeys, ...), which says
// how it is read, its JSON Schema, its default and its line in the manual. To add a
// key is to add a row.
//
// Every error of a manifest names file, line and column and, where a word is
// mistyped, the nearest one. What Parse returns needs no further check: names,
// patterns, subjects and templates are of parsed types, and no two routes or
// functions take the same requests.
//
// A Source is looked at anew by each Build, so that one that was opened once can be
// built at each change. The folder that a build makes is ready to run; to send it
// elsewhere, bundle packs it.
//
// It does not look at the network: whether somebody listens on a route's subject
// shows when a call comes. It starts nothing but tools, and whether a program
// answers shows when runner starts it.
//
// # Invariants
//
//   - Each mistake has its message, at its place: TestParseNamesEachMistake.
//   - No text makes Parse panic, and all that it accepts can be served by one
//     http.ServeMux: FuzzParse.
//   - What the JSON Schema refuses, Parse refuses, and every example of the manual
//     is accepted by both: TestSchemaAgreesWithParse, TestManualsExamplesAreProjects.
//   - The manual lists the keys as the tables have them, and defaults are those that
//     hold: TestManualListsEveryKey, TestDefaultsAreTheRealOnes.
//   - The environment fills values, never keys: TestVariablesFillValues.
//   - A schema's file lies in the manifest's folder: TestSchemaFiles.
//   - What code is, is seen the same way everywhere: TestDetectKnowsEachRow,
//     TestDetectSaysWhatItLookedFor, TestNamesFromFiles.
//   - A build writes nothing into the user's folder and leaves nothing behind when
//     it fails: TestBuildMakesEachLanguageRun, TestBuildRefusesHostileFolders.
//   - Equal code builds to equal files: TestBuildIsTheSameTwice.
//   - Packages are installed once for what names them: TestPackagesOfNPMAreInstalledOnce,
//     TestPackagesOfPipAreInstalledOnce.
package project
