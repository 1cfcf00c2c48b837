// Package nearest finds the word that a typo was meant to be.
//
//	"subjcet", [http subject payload] ──► "subject"
//
// A word that is far from every candidate has no nearest one:
// TestToFindsOnlyWhatIsClose.
package nearest
