package openapi

// Schemas returns the compiled schemas that w keeps, by their text.
func (w *Writer) Schemas() map[string]map[string]any {
	all := map[string]map[string]any{}
	for at, schema := range w.schemas {
		all[at.raw] = schema
	}
	return all
}
