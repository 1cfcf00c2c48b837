// Package process starts programs, and sees to it that neither they nor what they
// started outlive the node, however the node ends.
//
//	Keeper.Start ─► Process ─┬─ group, cgroup      signals, memory, usage
//	      │                  ├─ pipes ─► Lines     output
//	      │                  └─ mark               who left the group
//	      └─ control ─► Reap, a process that waits for the node's death
//
// A process and its descendants are found by three things, best first: the cgroup
// that was made for it, where the node may make any; its process group; and its
// mark, the MAYFLY_CALL or MAYFLY_INSTANCE of its environment, which stays with
// descendants in sessions of their own, along with the children of all these.
//
// The node's end comes in two ways. Keeper.Close kills what is left and waits for
// it. If the node itself is killed, the kernel kills the programs that it started
// (PDEATHSIG, Linux), and the reaper, whose control pipe ends at that moment, kills
// all the rest.
//
// It does not restart anything, knows no function and no call, and is no sandbox: a
// program that takes a session of its own and wipes its environment, and whose
// parents are gone, is found by nothing but a cgroup. Outside of Linux there are
// neither marks nor memory limits; on Windows nothing starts.
//
// Invariants, and the tests that guard them:
//   - a node killed with SIGKILL leaves no process: TestKilledNodeLeavesNoProcess
//   - nor does a program that is killed, or that ends by itself:
//     TestKillFindsWhoLeftTheGroup, TestProgramThatForksAndExitsLeavesNothing,
//     TestStraysOfAProgramThatEndedAreFound
//   - nobody else is killed: TestOneMarkOfTwoProcessesKillsNeitherByTheOther,
//     TestParseLineRefusesWhatIsNotOurs
//   - a process has the environment that it was given and no more:
//     TestProcessGetsItsEnvironmentAndNothingElse
//   - all output arrives before Done: TestOutputIsWholeHoweverSlowItsReader
//   - memory is limited for the group: TestMemoryLimitIsKept
//   - a process that is gone costs nothing: TestManyProcessesLeakNothing,
//     TestReaperEntriesAreReleased
//   - a reaper that dies is replaced: TestReaperThatDiesIsReplaced
package process
