//go:build fire && !race

package node_test

const raceDetector = false
