// Package watch tells when files change on disk, for the loop of saving a file and
// seeing what it does.
//
//	editor ──► file system ──► fsnotify ──► quiet for 20 ms ──► Changed
//
// It watches folders, never files: most editors write a new file and rename it
// over the old one, and a watch on the old one would watch nothing. It reads no
// file and does not know what a change means.
//
// Invariants, and the tests that guard them:
//   - a file that is written, renamed over, removed or made anew is told of:
//     TestChangesAreTold
//   - a folder that appears later is watched too: TestNewFolderIsWatched
//   - a folder that goes away and returns is watched again, and what was asked for
//     in it told of: TestFolderThatReturnsIsToldOf, TestFolderThatIsNotThereYetIsToldOf
//   - what is not asked for is not told: TestOtherFilesAreNot
package watch
