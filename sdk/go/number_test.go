package ferrite_test

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	ferrite "github.com/ferrite-wasm/ferrite-wasm/sdk/go"
	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/ferritetest"
)

func integerEntry() {
	ferrite.Serve1("integer", func(n int64) (int64, error) { return n, nil }, "n")
}

func floatEntry() {
	ferrite.Serve1("float", func(n float64) (float64, error) { return n, nil }, "n")
}

// The other SDKs are tested with the same table.
func TestNumbersAreReadAsInEverySDK(t *testing.T) {
	text, err := os.ReadFile("../number-cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var table map[string][][2]*string
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	if len(table["integer"]) < 30 || len(table["float"]) < 90 || len(table["stored_integer"]) < 15 {
		t.Fatal("the table is not whole")
	}
	store := ferritetest.New(t)
	check := func(written string, expected *string, reply, number any) {
		t.Helper()
		if expected != nil {
			if reply != number {
				t.Errorf("%q is read as %v, not %v", written, reply, number)
			}
		} else if refused, ok := reply.(ferritetest.Error); !ok {
			t.Errorf("%q is read as %v, not refused: %s", written, reply, refused)
		}
	}
	text2 := func(expected *string) string {
		if expected == nil {
			return ""
		}
		return *expected
	}
	for _, one := range table["integer"] {
		number, _ := strconv.ParseInt(text2(one[1]), 10, 64)
		check(*one[0], one[1], store.Call(integerEntry, nil, []string{*one[0]}), number)
	}
	for _, one := range table["float"] {
		number, _ := strconv.ParseFloat(text2(one[1]), 64)
		check(*one[0], one[1], store.Call(floatEntry, nil, []string{*one[0]}), number)
	}
	for _, one := range table["stored_integer"] {
		store.Do("SET", "k", *one[0])
		number, _ := strconv.ParseInt(text2(one[1]), 10, 64)
		check(*one[0], one[1], store.Do("INCRBY", "k", "0"), number)
	}
}
