// Package config defines a node's settings and loads them.
//
//	command line ─┐
//	environment  ─┤            ┌─► Config, checked
//	config.yaml  ─┼── Load ────┤
//	defaults     ─┘            └─► []Setting: each key, its value, where it came from
//
// One struct, Config, is the table: its tags give each key its name, help and default.
// A key has the same name everywhere: the flag --gateway.addr, the variable
// MAYFLY_GATEWAY_ADDR and, in the file, addr under gateway. Flags override the
// environment, which overrides the file, which overrides defaults.
//
// It is the only package that reads the process's environment (Environ); Load takes it
// as an argument. It does not read flags (cli does), open connections or inspect the
// machine.
//
// # Invariants
//
//   - Precedence and the named source of each value: TestLoadPrefersTheCloserSource.
//   - Nothing set is silently ignored; a mistyped name is an error that names the
//     nearest: TestLoadRefusesWhatItDoesNotKnow.
//   - A Setting's text never holds a secret: TestSettingsHideSecrets.
//   - Nothing listens beyond this machine by accident:
//     TestCheckRefusesWhatDoesNotFitTogether.
package config
