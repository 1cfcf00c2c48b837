// Package bus is our access to NATS: the connections, the server behind them if we run
// one, and Mayfly's streams and buckets there.
//
//	Call ──► encode ──► link ──► nats.go ──► server ──► service
//	     ◄── decode ◄── replies ◄──────────────────────
//
//	Open       startServer (embedded) or Remote, then links, then health
//	core       the link to the account of Mayfly's own state, and of mayfly.>
//	link       one connection, restored or replaced when lost; its reply multiplexer
//	State      a stream or bucket as it should be; Keep makes it so
//	committer  syncs what JetStream acknowledged, for all waiters; see Sync
//	health     asks the server and JetStream twice a second; Ready answers from memory
//
// If the server has two accounts, one is for users and one for Mayfly's state. Nothing
// above this package names either: the subject decides.
//
// It knows neither HTTP nor functions. It alone imports nats-server, and every NATS
// error is translated before it leaves.
//
// Invariants, and the tests that guard them:
//   - a call while disconnected fails at once and is never sent later:
//     TestCallWhileDisconnectedFailsAtOnce
//   - a reply reaches only the call it answers, and a late one is dropped:
//     TestRepliesReachTheirCalls
//   - "no responders" is told apart from silence: TestCallTellsNobodyFromSilence
//   - a connection that closed for good is replaced: TestClosedConnectionIsMadeAnew
//   - a call whose node dies or freezes fails within 3 s, a slow one is waited for:
//     TestSilentCallFailsSoon, TestCallOfAWorkingNodeIsWaitedFor
//   - an oversize message is rejected before it reaches the server:
//     TestCallRefusesWhatIsTooLarge
//   - a call that the server sent before its interest was dropped still arrives:
//     TestDroppedInterestLosesNoCall
//   - answers go to inboxes alone: TestRepliesGoToInboxesAlone
//   - without JetStream only the store is off: TestOnlyTheStoreIsOffWithoutJetStream
//   - what was acknowledged before Sync began is on disk when it returns, and a disk
//     that lost data is never tried again:
//     TestCallersDuringACommitShareTheNext, TestDiskThatFailedIsNotTriedAgain
//   - an existing stream never loses replicas or space, and one of a newer Mayfly is
//     left unchanged: TestStatesGetTheirShareOfTheStore,
//     TestLayoutDecidesWhatIsChanged
//   - users' programs cannot reach Mayfly's state, nor can their calls reach its
//     subjects: TestUsersReachNothingOfMayflysState, TestMayflysSubjectsAreApart
//   - a store of an earlier build loses nothing when its streams move to their account,
//     wherever the move is interrupted: TestSeparationSurvivesAStopAtEachStep
package bus
