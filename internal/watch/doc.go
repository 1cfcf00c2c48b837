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
//   - a folder that appears later is watched too, and many at once:
//     TestNewFolderIsWatched, TestManyFoldersAtOnceAreWatched
//   - links are followed, also when they come to lead elsewhere, and what has two
//     names is told of by those that were asked for: TestLinksAreFollowed,
//     TestTreeMayBeALink
//   - events that the system drops lose no change: TestNothingIsLostWithEvents
//   - limits are said with what to do: TestWhatCannotBeWatchedSaysWhatToDo,
//     TestMoreFoldersThanAreWatchedIsSaid
//   - a folder that goes away and returns is watched again, and what was asked for
//     in it told of: TestFolderThatReturnsIsToldOf, TestFolderThatIsNotThereYetIsToldOf
//   - what is not asked for is not told: TestOtherFilesAreNot
package watch
