// Package node wires the parts into one process. It is the only package that knows all
// of them, and the only one that opens doors.
//
//	New    folder ─► bus ─► directory ─► store ─► runner ─► roster ─► doors   in order of floors
//	Run    doors stop first, then the roster, then the runner                 in stages
//	Close  store, directory, bus, folder                                      last
//
// Reading New explains the product. The package decides nothing that a part could decide
// itself. Its only state is the folder's lock and node.json.
//
// Invariants, and the tests that guard them:
//   - a folder has at most one node: TestFolderHasOneNode
//   - node id and server name survive restarts: TestNodeKeepsItsName
//   - a stage stops only when all doors before it are closed: TestStagesStopInOrder
//   - a call in flight is answered before Run returns: TestShutdownAnswersWhatIsInFlight
//   - a NATS server that dies, hangs or is unreachable costs few calls and bounded time:
//     TestFireKilledServerCostsFewCalls, TestFireStoppedServerIsLeft,
//     TestFireOutageOfAllServersIsToldAtOnce
//   - neither slow clients nor hostile services affect others:
//     TestFireSlowClientsDisturbNobody, TestFireHostileServicesDisturbNobody
//   - a call leaves nothing behind, however it ends: TestFireCallsLeaveNothingBehind
//   - a client cannot tell whether its call crossed the bus:
//     TestCarriersAnswerAlike, TestCarriersTellDevelopersAlike
//   - a process that dies costs only its own calls, and none outlives the node:
//     TestKilledInstanceCostsItsCallAlone, TestKilledNodeLeavesNoProcessOfAFunction
//   - work on a call stops at its deadline and when its client disconnects:
//     TestWorkEndsWithItsCall
//   - a body of any length passes, and is never held whole: TestLongBodiesAreNeverHeldWhole
//   - what is deployed survives a restart, and no call fails when it changes:
//     TestDeployedFunctionSurvivesARestart, TestDeployUnderLoadFailsNoCall
//   - overloaded functions stay useful, and idle ones cost little:
//     TestFireOverloadedFunctionStaysUseful, TestFireIdleFunctionsCostLittle
//   - New that fails halfway leaves nothing behind: TestNewLeavesNothingBehind
//   - a node that may store nothing on an existing server still works as a gateway:
//     TestNodeWithoutAStoreIsAGateway
//   - a node stops if its disk lost acknowledged data: TestLostDataEndsTheNode
//   - the data folder of an earlier build keeps everything: TestFolderOfTheBuildBefore
package node
