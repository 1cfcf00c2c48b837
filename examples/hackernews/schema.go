package main

// JSON Schemas of requests and replies, for an OpenAPI document.
const (
	idSchema     = `{"description":"a number, or an object with it","anyOf":[{"type":"integer","minimum":1},{"type":"object","required":["id"],"properties":{"id":{"type":"integer","minimum":1}}}]}`
	numberSchema = `{"description":"a number, or an object with it","anyOf":[{"type":"integer","minimum":1},{"type":"object","required":["n"],"properties":{"n":{"type":"integer","minimum":1}}}]}`

	fetchedSchema = `{"type":"object","required":["ids","queued","duplicates"],"properties":{"ids":{"type":"integer"},"queued":{"type":"integer"},"duplicates":{"type":"integer"}}}`
	idsSchema     = `{"type":"array","items":{"type":"integer"}}`
	queuedSchema  = `{"type":"object","required":["id","queued"],"properties":{"id":{"type":"integer"},"queued":{"type":"boolean"}}}`

	postSchema = `{"type":"object","required":["id","title","score","descendants","time"],"properties":{` +
		`"id":{"type":"integer"},"title":{"type":"string"},"url":{"type":"string","format":"uri"},"by":{"type":"string"},` +
		`"score":{"type":"integer"},"descendants":{"type":"integer","description":"comments"},"time":{"type":"string","format":"date-time"}}}`
	postsSchema  = `{"type":"array","items":` + postSchema + `}`
	topSchema    = `{"type":"object","required":["count","posts"],"properties":{"count":{"type":"integer","description":"of posts"},"posts":` + postsSchema + `}}`
	reportSchema = `{"type":"object","required":["generated_at","window","count","pending","complete","posts"],"properties":{` +
		`"generated_at":{"type":"string","format":"date-time"},"window":{"type":"string"},"count":{"type":"integer"},` +
		`"pending":{"type":"integer","description":"items that were still queued"},"complete":{"type":"boolean"},"posts":` + postsSchema + `}}`
)
