// Package registry holds what is deployed on a bus: entries in a KV bucket, and the
// code that they reference in an object store.
//
//	Deploy ──► read ──► author ──► compare-and-set ──► mayfly_registry
//	                                                        │ watch
//	List, Get, Watch ◄── picture in memory ◄────────────────┘
//
//	Upload ──► checked ──► mayfly_code ──► download ──► unpack ──► cache ──► Fetch
//
// An entry is function/<name>, service/<name> or route/<name>: one JSON object with the
// deployed settings and the registry's own fields: number, project, when, by whom. A
// rollback is a new entry too. A removal leaves a tombstone with the last number.
//
// It does not build (project does), does not start anything (runner does) and does not
// decide when a deploy may become current: callers of Deploy ask the nodes first.
//
// # Invariants
//
//   - A number is used once and the next is greater by one, even after a removal and for
//     any writer: TestRevisionsOnlyGrow, TestNumbersGoOnAfterRemoval.
//   - Of two concurrent changes to an entry, one fails with an error and is not stored:
//     TestTwoDeploysAtOnceOneWins.
//   - What a newer Mayfly wrote is rejected or kept, never rewritten:
//     TestNewerFormatIsRefused, TestNewerLayoutIsLeftAlone, TestUnknownFieldsAreKept.
//   - Entries have one form, whichever Mayfly wrote them: TestEntriesStayAsTheyWere.
//   - Entries that other tools wrote are checked like a manifest before they are shown:
//     TestHostileRoutesAreNotServed.
//   - An entry that makes no sense blocks nothing, and the last good one serves:
//     TestUnreadableEntryLocksNothing. Neither does one that is damaged on disk:
//     TestDamagedEntryStopsNoRead. A read that fails otherwise says nothing:
//     TestSlowReadIsNotDamage.
//   - A writer reads its own writes; others see them, even after the connection was lost
//     or replaced, or a backup was restored:
//     TestPictureSurvivesTheServer, TestReplacedRegistryIsReadAgain.
//   - A bundle matches its digest, or does not exist: TestUploadRefusesOtherBytes,
//     TestFetchMendsTheCache.
//   - A bundle that is referenced, or is about to be, is never deleted:
//     TestCollectSparesWhatIsNamed.
package registry
