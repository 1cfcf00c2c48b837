// Package logs keeps what instances write: lines go into a stream in batches, and
// are read back from it, old ones and new ones as they come.
//
//	Append ──► waiting (bounded, by instance) ──100 ms──► mayfly.log.<function>.<instance>
//	                                                            │ MAYFLY_LOGS
//	Read ◄── lines that match ◄── ordered consumer ◄────────────┘
//
// A message holds the lines of one instance, one JSON object a line, so that
// `nats sub 'mayfly.log.>'` shows them too. A silent instance costs nothing: it has
// neither a timer nor memory.
//
// The lines of one instance keep their order; those of different instances come in
// the order of their batches. A power loss loses the last 100 ms of output.
//
// It does not print: colors, control characters and time zones are up to the reader.
//
// # Invariants
//
//   - Append never waits, whatever happens to NATS: TestAppendNeverWaits.
//   - Close stores what was appended before it: TestCloseStoresTheRest.
//   - A line is stored once or counted as dropped, and the log says so:
//     TestDroppedLinesAreTold.
//   - A flood leaves room for the others, and has a bound in memory and in the stream:
//     TestAFloodTakesNoOthersRoom, TestAFloodIsBoundedHoweverLong, TestAFloodCostsLittleMemory,
//     TestManyInstancesAreBounded.
//   - A follower gets each line once, even across an interruption:
//     TestFollowGoesOnOverAnInterruption.
//   - Nothing in the stream breaks a reader: FuzzDecode.
package logs
