// Package scope has a context that costs little where nothing has to be canceled, as with
// nearly every call.
//
//	type work struct {
//		scope.Context          // the work's, in the same piece of memory
//		...
//	}
//	w.Begin(parent) ──► the work, with w as its context ──► w.End(nil)
//
// What a context of the standard library makes at once, a Context makes when it is first
// needed: its channel, and its place with its parent. A Watch is context.AfterFunc in memory
// that its owner has already.
//
// It has no timer: who embeds a Context ends it in time.
//
// Invariants, and the tests that guard them:
//   - it is a context, to the standard library's too: TestContextIsAContext
//   - an end reaches everything below it, however late that came: TestEndReachesAllBelow
//   - and once, if all happens at once: TestEndsAtOnce
//   - one that nothing watches allocates nothing: TestQuietContextAllocatesNothing
package scope
