package httpengine

const programVariable = "HTTPENGINE_TEST_PROGRAM"

var programs = map[string]func(){}
