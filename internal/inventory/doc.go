// Package inventory notices that a store lost something: a damaged disk, an incomplete
// copy of the folder, a crash that hid a file. JetStream starts with what it can read, and
// says nothing.
//
//	store ──► look ──► compare with the record ──► Ready, the log, mayfly doctor
//	                          └── nothing is missing ──► record, beside the store
//
// A record holds, for each stream that must not lose anything, its last sequence number,
// how many messages it has, and for each key the number and a digest of the newest value.
// It is written after the store was synced, so it never promises more than that has.
//
// It restores nothing, and does not look at logs or at users' streams.
//
// # Invariants
//
//   - A store that lost something is told so, by name, and reading it has an end:
//     TestDamageIsTold, TestDamageWhileTheNodeRunsIsTold.
//   - What is written again, restored or accepted is no longer missing:
//     TestDamageIsSettled, TestUnreadableValueMayBeAccepted.
//   - Values that are replaced while it looks are not lost: TestWritersAreNotDamage.
package inventory
