//go:build fire && race

package node_test

// raceDetector says that everything takes ten times as long: figures that stand
// for two cores are scaled down, since what the detector looks for does not need
// them.
const raceDetector = true
