// Package logs keeps what instances write: lines go into a stream in batches, and
// are read back from it, the old ones and those that are still to come.
//
//	Append ──► waiting (bounded, by instance) ──100 ms──► mayfly.log.<function>.<instance>
//	                                                            │ MAYFLY_LOGS
//	Read ◄── lines that match ◄── ordered consumer ◄────────────┘
//
// A message holds the lines of one instance, one JSON object a line, so that
// `nats sub 'mayfly.log.>'` shows them too. Who does not write costs nothing: there
// is no timer and no memory for an instance that is silent.
//
// The lines of one instance come in the order in which they were written; those of
// different instances in the order of their batches. What a process wrote in the
// last 100 ms before a power loss is lost.
//
// It does not print: colours, control characters and time zones are the reader's.
//
// # Invariants
//
//   - Append never waits, whatever happens to NATS: TestAppendNeverWaits.
//   - What was appended before Close is in the stream after it: TestCloseStoresTheRest.
//   - A line is stored once or counted as dropped, and the log says so itself:
//     TestDroppedLinesAreTold.
//   - Lines that are followed come once each, also over an interruption:
//     TestFollowGoesOnOverAnInterruption.
//   - No bytes in the stream break a reader: FuzzDecode.
package logs
