// Package registry is what is deployed on a bus: entries in a KV bucket, and the
// code that they name in an object store.
//
//	Deploy ──► read ──► author ──► compare-and-set ──► mayfly_registry
//	                                                        │ watch
//	List, Get, Watch ◄── picture in memory ◄────────────────┘
//
//	Upload ──► checked ──► mayfly_code ──► download ──► unpack ──► cache ──► Fetch
//
// An entry is function/<name>, service/<name> or route/<name>: one JSON object with
// the settings of what is deployed and, beside them, what the registry notes:
// number, project, when, by whom. A rollback, too, is a new entry. A removal leaves a tombstone with
// the last number.
//
// It does not build (project does), does not start anything (runner does) and does
// not decide when a deploy is good enough to become current: who calls Deploy has
// asked the nodes before.
//
// # Invariants
//
//   - A number is given once, the next is greater by one, also after a removal, by
//     whatever writer: TestRevisionsOnlyGrow, TestNumbersGoOnAfterRemoval.
//   - Of two who change an entry at once one is told so, and its change is not
//     there: TestTwoDeploysAtOnceOneWins.
//   - What a newer Mayfly wrote is refused or kept, never rewritten:
//     TestNewerFormatIsRefused, TestNewerLayoutIsLeftAlone, TestUnknownFieldsAreKept.
//   - Entries have one form, whichever Mayfly wrote them: TestEntriesStayAsTheyWere.
//   - What somebody else wrote into the bucket is checked like a manifest before it
//     is shown: TestHostileRoutesAreNotServed.
//   - A writer finds what it wrote; others hear of it, also after the connection was
//     away or made anew: TestPictureSurvivesTheServer.
//   - A bundle has the bytes of its digest, or is not there:
//     TestUploadRefusesOtherBytes, TestFetchMendsTheCache.
//   - No bundle that somebody names, or is about to name, is deleted:
//     TestCollectSparesWhatIsNamed.
package registry
