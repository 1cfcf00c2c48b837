// Package watch reports when files change on disk, so that saving a file shows its
// effect at once.
//
//	editor ──► file system ──► fsnotify ──► quiet for 20 ms ──► Changed
//
// It watches folders, never files: most editors write a new file and rename it
// over the old one, and a watch on the old one would see nothing. It reads no
// files and does not interpret changes.
//
// Invariants, and the tests that guard them:
//   - writing, replacing, removing and recreating a file is reported:
//     TestChangesAreTold
//   - new folders are watched too, even many at once, but not those in a flat tree:
//     TestNewFolderIsWatched, TestManyFoldersAtOnceAreWatched, TestFlatTreeIsOneFolder
//   - links are followed, even when they are retargeted, and a file with two names
//     is reported by the names that were asked for: TestLinksAreFollowed,
//     TestLinkOnTheWayIsWatched, TestTurnedLinkIsFollowed,
//     TestTreeMayBeALink
//   - no change is lost when the system drops events: TestNothingIsLostWithEvents
//   - limits are reported with a remedy: TestWhatCannotBeWatchedSaysWhatToDo,
//     TestMoreFoldersThanAreWatchedIsSaid
//   - a folder that disappears and returns is watched again, and its files are
//     reported: TestFolderThatReturnsIsToldOf, TestFolderThatIsNotThereYetIsToldOf
//   - nothing else is reported: TestOtherFilesAreNot
package watch
