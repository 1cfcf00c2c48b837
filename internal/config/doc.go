// Package config says what can be set on a node and finds out what was set.
//
//	command line ─┐
//	environment  ─┤            ┌─► Config, checked
//	config.yaml  ─┼── Load ────┤
//	defaults     ─┘            └─► []Setting: each key, its value, where it came from
//
// One struct, Config, is the one table: its tags give every key its name, help
// and default. A key has one name at all doors: the flag --gateway.addr, the
// variable MAYFLY_GATEWAY_ADDR and, in the file, addr below gateway. The command
// line wins over the environment, that over the file, that over the default.
//
// It is the only package that reads the process's environment, by Environ; even
// Load is given it. It does not read flags (cli does), open a connection or look
// at the machine: what "by free space" means is for the part that needs it.
//
// # Invariants
//
//   - Precedence and the named source of each value: TestLoadPrefersTheCloserSource.
//   - Nothing set is silently ignored; a mistyped name is an error that names the
//     nearest: TestLoadRefusesWhatItDoesNotKnow.
//   - No secret is ever in a Setting's text: TestSettingsHideSecrets.
//   - Nothing listens beyond this machine by accident: TestCheckRefusesWhatDoesNotFitTogether.
package config
