// Package bus is the way to NATS: the connections, the server behind them if we run
// one, and the streams and buckets that Mayfly keeps there.
//
//	Call ──► encode ──► link ──► nats.go ──► server ──► service
//	     ◄── decode ◄── replies ◄──────────────────────
//
//	Open       startServer (embedded) or Remote, then links, then health
//	core       the link to the account of Mayfly's own state, and of mayfly.>
//	link       one connection; found again or made anew; its reply multiplexer
//	State      a stream or bucket as it should be; Keep makes it so
//	committer  syncs what JetStream acknowledged, for all who wait; see Sync
//	health     asks the server and JetStream twice a second; Ready answers from memory
//
// There are two accounts where the server has them, one for users and one for
// Mayfly's state, and nothing above this package names either: a subject says which.
//
// It knows neither HTTP nor functions. It alone imports nats-server, and no error
// of NATS leaves it untranslated.
//
// Invariants, and the tests that guard them:
//   - a call while disconnected fails at once and is never sent later:
//     TestCallWhileDisconnectedFailsAtOnce
//   - a reply reaches the call it answers and no other, a late one nobody:
//     TestRepliesReachTheirCalls
//   - "no responders" is told apart from silence: TestCallTellsNobodyFromSilence
//   - a connection that closed for good is made anew: TestClosedConnectionIsMadeAnew
//   - an oversize message is refused before it reaches the server:
//     TestCallRefusesWhatIsTooLarge
//   - what was acknowledged before Sync began is on the disk when it returns, and a
//     disk that lost something is never tried again:
//     TestCallersDuringACommitShareTheNext, TestDiskThatFailedIsNotTriedAgain
//   - a stream that is there loses neither copies nor room, and one of a newer
//     Mayfly nothing at all: TestStatesGetTheirShareOfTheStore,
//     TestLayoutDecidesWhatIsChanged
//   - users' programs reach nothing of Mayfly's state, and no call of theirs its
//     subjects: TestUsersReachNothingOfMayflysState, TestMayflysSubjectsAreApart
//   - a store of an earlier build loses nothing when its streams move to their
//     account, wherever that stops: TestSeparationSurvivesAStopAtEachStep
package bus
