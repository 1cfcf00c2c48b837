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
// nothing: who calls it is told what is being done. It does several things at once:
// builds as there are cores, starts and writes as the nodes and the store bear.
//
// Services are not tried before: they register themselves on the bus, where two of
// different revisions would share the calls.
//
// # Invariants
//
//   - Until every node was able to start every function nothing is changed, and
//     neither is it where a name belongs to somebody else:
//     TestOneNodeThatFailsChangesNothing, TestBuildThatFailsChangesNothing,
//     TestNamesOfOthersChangeNothing, TestNamesThatClashChangeNothing.
//   - A node is asked for what it can run, and for no more:
//     TestOnlyNodesThatFitAreAsked.
//   - What fails is told in the projects' order, whatever was faster:
//     TestAllThatFailAreNamed.
//   - What is deployed already is neither tried nor written again:
//     TestSameContentIsUnchanged.
//   - What a project lists no more is removed, and nothing of another's:
//     TestUnlistedThingsAreRemoved.
//   - A rollback is a deploy of old code, with the same care: TestRollbackIsTriedFirst.
//   - Waiting has an end: TestAwaitEndsWithTheAnswer.
package deploy
