package ferrite

import "encoding/json"

// JSON is a parameter or a result that is passed as JSON.
type JSON[T any] struct {
	Value T
}

// UnmarshalText reads the value.
func (j *JSON[T]) UnmarshalText(text []byte) error {
	return json.Unmarshal(text, &j.Value)
}

// MarshalText writes the value.
func (j JSON[T]) MarshalText() ([]byte, error) {
	return json.Marshal(j.Value)
}

// Name returns the type's name in error replies.
func (j *JSON[T]) Name() string {
	return "JSON"
}
