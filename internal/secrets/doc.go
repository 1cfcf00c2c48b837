// Package secrets keeps what functions must know and nobody else: values in a KV
// bucket, encrypted with age for a key that is a file beside the node's state.
//
//	Set ──► seal (name, value) ──► mayfly_secrets ──► open ──► Get ──► an instance's environment
//	             └── secret.key: made by the first Set, never sent anywhere ──┘
//
// Whoever may read the bucket, or a backup of it, learns names, sizes and times. A
// cluster's nodes need the same key: it is copied by hand, and --secret-key says
// where it lies.
//
// It does not decide who gets a secret: the runner gives a function those that its
// settings name.
//
// # Invariants
//
//   - No value, and no part of one, is in an error, a log line or the bucket:
//     TestValuesAreSeenNowhere.
//   - A value is found under the name it was set with, and under no other:
//     TestSecretOfAnotherNameIsRefused.
//   - A key is made once, and not where it could not open what is there already:
//     TestKeyIsMadeOnce, TestNoKeyIsMadeWhereSecretsAre.
package secrets
