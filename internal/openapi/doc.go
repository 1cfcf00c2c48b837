// Package openapi describes what can be called: OpenAPI 3.1 documents, and the JSON
// Schemas within them.
//
//	routes, functions, services ──► Writer ──► document
//	request, response schemas ────► Schema ──┘
//
// It serves nothing and chooses nothing: callers decide what a document shows.
//
// Invariants, and the tests that guard them:
//   - a document is valid whatever metadata says: TestDocumentIsValid, FuzzSchema
//   - a schema that cannot be used spoils nothing else: TestEachHostileSchemaIsValidAlone
//   - compiling a schema reads no file and opens no connection, and takes bounded
//     time: TestSchemaIsBounded, TestSchemaLoadsNothing
//   - a schema is compiled once, however many documents have it: TestWriterCompilesASchemaOnce
package openapi
