// Package process starts programs and makes sure that neither they nor their
// descendants outlive the node, however the node ends.
//
//	Keeper.Start ─► Process ─┬─ group, cgroup      signals, memory, usage
//	      │                  ├─ pipes ─► Lines     output
//	      │                  └─ mark               descendants that left the group
//	      └─ control ─► Reap, a process that waits for the node's death
//
// A process and its descendants are found in three ways, best first: by its cgroup,
// if the node can create one; by its process group; and by its mark, MAYFLY_CALL or
// MAYFLY_INSTANCE in the environment, which descendants keep even in sessions of
// their own. Children of all these count too.
//
// The node can end in two ways. Keeper.Close kills what is left and waits for it.
// If the node itself is killed, the kernel kills the programs that it started
// (PDEATHSIG, Linux), and the reaper, whose control pipe then closes, kills the
// rest.
//
// It restarts nothing, knows nothing about functions and calls, and is not a
// sandbox: only a cgroup finds a program that starts its own session, clears its
// environment and has lost its parents. Outside Linux there are no marks and no
// memory limits; on Windows nothing starts.
//
// Invariants, and the tests that guard them:
//   - a node killed with SIGKILL leaves no process: TestKilledNodeLeavesNoProcess
//   - nor does a program that is killed or exits:
//     TestKillFindsWhoLeftTheGroup, TestProgramThatForksAndExitsLeavesNothing,
//     TestLeftoversOfAProgramThatEndedAreFound
//   - no other process is killed: TestOneMarkOfTwoProcessesKillsNeitherByTheOther,
//     TestParseLineRefusesWhatIsNotOurs
//   - a process gets exactly the environment it was given:
//     TestProcessGetsItsEnvironmentAndNothingElse
//   - all output is delivered before Done: TestOutputIsWholeHoweverSlowItsReader
//   - the memory limit covers the whole group: TestMemoryLimitIsKept
//   - TMPDIR is within its limit, but for a second: TestDiskLimitIsKept
//   - a process that has exited leaks nothing: TestManyProcessesLeakNothing,
//     TestReaperEntriesAreReleased
//   - a reaper that dies is replaced: TestReaperThatDiesIsReplaced
package process
