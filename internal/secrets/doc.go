// Package secrets stores confidential values of functions in a KV bucket, encrypted
// with age for a key in a file beside the node's state.
//
//	Set ──► seal (name, value) ──► mayfly_secrets ──► open ──► Get ──► an instance's environment
//	             └── secret.key: made by the first Set, never sent anywhere ──┘
//
// A reader of the bucket, or of a backup, learns names, sizes and times. All nodes of a
// cluster need the same key: copy it by hand, and name it with --secret-key.
//
// It does not decide which function gets a secret: a function's settings name its secrets.
//
// # Invariants
//
//   - No value, and no part of one, is in an error, a log line or the bucket:
//     TestValuesAreSeenNowhere.
//   - A value is returned under the name it was set with, and no other:
//     TestSecretOfAnotherNameIsRefused.
//   - A key is created once, and never where it could not open existing secrets:
//     TestKeyIsMadeOnce, TestNoKeyIsMadeWhereSecretsAre.
package secrets
