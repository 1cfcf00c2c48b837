// Package node wires the parts into one process: the only package that knows
// everyone.
//
//	New   folder ─► bus ─► directory ─► store ─► runner ─► gateway, console      floors in order
//	Run   doors stop first, then what stands behind them      stages in reverse
//	Close directory, bus, folder                              ground last
//
// Reading New explains the product. It decides nothing that a part could decide
// itself, and it has no state of its own but the folder's lock and node.json.
//
// Invariants, and the tests that guard them:
//   - one folder has one node: TestFolderHasOneNode
//   - node id and server name outlive restarts: TestNodeKeepsItsName
//   - a stage stops only when all doors before it are closed: TestStagesStopInOrder
//   - a call in flight is answered before Run returns: TestShutdownAnswersWhatIsInFlight
//   - a NATS server that dies, hangs or is away costs few calls and bounded time:
//     TestFireKilledServerCostsFewCalls, TestFireStoppedServerIsLeft,
//     TestFireOutageOfAllServersIsToldAtOnce
//   - neither slow clients nor hostile services disturb others:
//     TestFireSlowClientsDisturbNobody, TestFireHostileServicesDisturbNobody
//   - nothing stays of a call, whatever it came to: TestFireCallsLeaveNothingBehind
//   - no client can tell which way its call went to a function:
//     TestCarriersAnswerAlike, TestCarriersTellDevelopersAlike
//   - a function's process that dies costs its calls alone, and none outlives the node:
//     TestKilledInstanceCostsItsCallAlone, TestKilledNodeLeavesNoProcessOfAFunction
//   - the work on a call ends with its time and with its client: TestWorkEndsWithItsCall
//   - a body of any length passes, and is never here whole: TestLongBodiesAreNeverHeldWhole
//   - what is deployed runs here, and no call fails when it changes:
//     TestDeployedFunctionSurvivesARestart, TestDeployUnderLoadFailsNoCall
//   - functions keep their promises with too many callers, and with none:
//     TestFireOverloadedFunctionStaysUseful, TestFireIdleFunctionsCostLittle
//   - New that fails halfway leaves nothing behind: TestNewLeavesNothingBehind
//   - a node that may keep nothing on somebody else's server is a gateway all the
//     same: TestNodeWithoutAStoreIsAGateway
//   - a node ends when its disk has lost something: TestBrokenGroundEndsTheNode
package node
