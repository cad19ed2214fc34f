// The table of cases that the examples of every language are tested with, on a store in memory.
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/ferritetest"
)

var entries = map[string]func(){
	"rate_limit":      rateLimitEntry,
	"validate_user":   validateUserEntry,
	"aggregate_stats": aggregateStatsEntry,
}

// input is a key or an argument: text, or an object with its bytes in hex.
type input string

func (i *input) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, (*string)(i))
	}
	var object struct{ Hex string }
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	raw, err := hex.DecodeString(object.Hex)
	*i = input(raw)
	return err
}

type testCase struct {
	Name, Function string
	Seed           [][]string
	Calls          []struct {
		Keys, Args []input
		Reply      any
	}
	Then []struct {
		Command []string
		Reply   any
	}
}

func texts(inputs []input) []string {
	all := make([]string, len(inputs))
	for i, it := range inputs {
		all[i] = string(it)
	}
	return all
}

// matches tells whether a reply is the one that the table expects.
func matches(reply, expected any) bool {
	switch expected := expected.(type) {
	case json.Number:
		number, err := expected.Int64()
		return err == nil && reply == number
	case map[string]any:
		if parts, ok := expected["error_with"].([]any); ok {
			text, ok := reply.(ferritetest.Error)
			for i, part := range parts {
				at := strings.Index(string(text), part.(string))
				ok = ok && at >= 0 && (i > 0 || at == 0)
			}
			return ok
		}
		if text, ok := expected["error"].(string); ok {
			return reply == ferritetest.Error(text)
		}
		if bounds, ok := expected["between"].([]any); ok {
			least, _ := bounds[0].(json.Number).Int64()
			most, _ := bounds[1].(json.Number).Int64()
			number, ok := reply.(int64)
			return ok && number >= least && number <= most
		}
		pairs := expected["map"].([]any)
		found, ok := reply.(ferritetest.Map)
		if !ok || len(found) != 2*len(pairs) {
			return false
		}
		for i, pair := range pairs {
			pair := pair.([]any)
			if !matches(found[2*i], pair[0]) || !matches(found[2*i+1], pair[1]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(reply, expected)
}

func TestTheCasesHold(t *testing.T) {
	table, err := os.ReadFile("../cases/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	decoder := json.NewDecoder(bytes.NewReader(table))
	decoder.UseNumber()
	if err := decoder.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	for _, it := range cases {
		entry, ok := entries[it.Function]
		if !ok {
			continue
		}
		t.Run(it.Function+": "+it.Name, func(t *testing.T) {
			store := ferritetest.New(t)
			for _, command := range it.Seed {
				store.Do(command...)
			}
			for _, call := range it.Calls {
				if reply := store.Call(entry, texts(call.Keys), texts(call.Args)); !matches(reply, call.Reply) {
					t.Errorf("got %#v, expected %v", reply, call.Reply)
				}
			}
			for _, check := range it.Then {
				if reply := store.Do(check.Command...); !matches(reply, check.Reply) {
					t.Errorf("%v: got %#v, expected %v", check.Command, reply, check.Reply)
				}
			}
		})
	}
}
