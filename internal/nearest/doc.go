// Package nearest finds what somebody meant to write.
//
//	"subjcet", [http subject payload] ──► "subject"
//
// It does not guess wildly: a word that is far from every candidate has no
// nearest one. TestToFindsOnlyWhatIsClose guards that.
package nearest
