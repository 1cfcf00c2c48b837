// Package bundle packs a folder of built output into one stream of bytes, and
// unpacks it where nobody has to trust it.
//
//	folder ──Pack──► tar ──► zstd ──► bytes, named by their sha256
//	folder ◄─rename─ temporary folder ◄─ tar ◄─ zstd ◄─Unpack─ bytes
//
// A bundle is what travels from a deploy to the nodes. The file mayfly.json comes
// first in it, so that what it is can be seen without reading on. The digest is
// that of the packed bytes: whoever fetches a bundle checks it before or while
// Unpack reads, because Unpack takes no bundle's word for what it is, but cannot
// tell one sane bundle from another.
//
// It does not decide what belongs into a bundle (project does) nor where bundles
// are kept (registry does). It does not wait for the disk: after a power cut, unlike
// after a kill, a folder may hold less than it should.
//
// # Invariants
//
//   - Equal content has an equal digest, whoever packs it, wherever and whenever:
//     TestEqualContentHasAnEqualDigest.
//   - What Pack makes, Unpack takes, and it is the same: TestPackedFolderComesBack.
//   - No bundle writes or links outside of its folder, or puts anything but files,
//     folders and links into it: TestUnpackRefusesHostileBundles, FuzzUnpack.
//   - No bundle takes more room than its limits, whatever it says of itself:
//     TestUnpackRefusesBombs.
//   - A folder is there whole or not at all: TestUnpackLeavesNothingHalf.
package bundle
