// Package deploy makes what projects list current on a bus: it builds their code,
// stores it, has the nodes try it, and only then changes the registry.
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
//   - Until every node was able to start every function nothing is changed, and
//     neither is it where a name belongs to somebody else:
//     TestOneNodeThatFailsChangesNothing, TestBuildThatFailsChangesNothing,
//     TestNamesOfOthersChangeNothing, TestNamesThatClashChangeNothing.
//   - Only nodes that can run a unit are asked to:
//     TestOnlyNodesThatFitAreAsked.
//   - Failures are reported in the projects' order, not by speed:
//     TestAllThatFailAreNamed.
//   - What is deployed already is neither tried nor written again:
//     TestSameContentIsUnchanged.
//   - What a project no longer lists is removed, and nothing of other projects:
//     TestUnlistedThingsAreRemoved.
//   - A rollback is a deploy of old code, with the same care: TestRollbackIsTriedFirst.
//   - Waiting has an end: TestAwaitEndsWithTheAnswer.
package deploy
