// Package deploy makes what projects list current on a bus: it builds and stores the code,
// has the nodes try it, and only then changes the registry.
//
//	Project ──Build──► folders ──Pack──► file ──Upload──► mayfly_code
//	                                                │
//	   every node that fits ◄──Prepare── function ◄─┘
//	        │ all are ready
//	        ▼
//	   Registry.Deploy, and Remove of what is listed no more ──► wait until it serves
//
// It reads no manifest (project does), starts nothing (the nodes do) and prints
// nothing: Options.Tell hears of each step. Builds run in parallel, one per core;
// starts and writes have limits of their own.
//
// Services are not tried first: they register themselves on the bus, where two
// revisions would share the calls.
//
// # Invariants
//
//   - Nothing changes until every node has started every function, nor if a name belongs
//     to another project:
//     TestOneNodeThatFailsChangesNothing, TestBuildThatFailsChangesNothing,
//     TestNamesOfOthersChangeNothing, TestNamesThatClashChangeNothing.
//   - Only nodes that can run a unit are asked to:
//     TestOnlyNodesThatFitAreAsked.
//   - Failures are reported in the projects' order, not by speed:
//     TestAllThatFailAreNamed.
//   - What is already deployed is neither tried nor written again:
//     TestSameContentIsUnchanged.
//   - What a project no longer lists is removed; other projects are untouched:
//     TestUnlistedThingsAreRemoved.
//   - A rollback is a deploy of old code, with the same care: TestRollbackIsTriedFirst.
//   - Waiting has an end: TestAwaitEndsWithTheAnswer.
//   - What Remove has removed, no node serves: TestRemovedFunctionIsNotFoundAtOnce.
package deploy
