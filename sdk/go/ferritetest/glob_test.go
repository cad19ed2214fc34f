package ferritetest

import (
	"encoding/json"
	"os"
	"testing"
)

// The server and the other SDKs are tested with the same table.
func TestPatternsMatchAsInValkey(t *testing.T) {
	table, err := os.ReadFile("../../glob-cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases [][3]any
	if err := json.Unmarshal(table, &cases); err != nil {
		t.Fatal(err)
	}
	// Each character of the table stands for one byte.
	bytes := func(text string) string {
		var raw []byte
		for _, char := range text {
			raw = append(raw, byte(char))
		}
		return string(raw)
	}
	for _, one := range cases {
		pattern, text, expected := one[0].(string), one[1].(string), one[2].(bool)
		if matches(bytes(pattern), bytes(text)) != expected {
			t.Errorf("%q and %q: expected %v", pattern, text, expected)
		}
	}
}
