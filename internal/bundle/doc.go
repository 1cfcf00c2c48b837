// Package bundle packs a folder of built output into one stream of bytes, and
// unpacks streams that may be hostile.
//
//	folder ──Pack──► tar ──► zstd ──► bytes, named by their sha256
//	folder ◄─rename─ temporary folder ◄─ tar ◄─ zstd ◄─Unpack─ bytes
//
// A bundle travels from a deploy to the nodes. The file mayfly.json comes first, so
// that a reader can identify the bundle without reading on. The digest covers the
// packed bytes. The fetcher verifies it, before or while Unpack reads: Unpack
// rejects malformed bundles but cannot tell one valid bundle from another.
//
// It does not decide what goes into a bundle (project does) or where bundles are
// stored (registry does). It does not sync to disk: after a power cut, unlike after
// a kill, a folder may be incomplete.
//
// # Invariants
//
//   - Equal content has an equal digest, on any machine at any time:
//     TestEqualContentHasAnEqualDigest.
//   - Unpack restores exactly what Pack packed: TestPackedFolderComesBack.
//   - No bundle writes or links outside its folder, or contains anything but files,
//     folders and links: TestUnpackRefusesHostileBundles, FuzzUnpack.
//   - No bundle exceeds its limits, whatever it declares:
//     TestUnpackRefusesBombs.
//   - A folder appears complete or not at all: TestUnpackLeavesNothingHalf.
package bundle
