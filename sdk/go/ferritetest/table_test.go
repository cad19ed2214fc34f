package ferritetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"testing"
)

// expected turns a reply of the table into one of the store.
func expected(reply any) any {
	switch reply := reply.(type) {
	case float64:
		return int64(reply)
	case []any:
		items := []any{}
		for _, item := range reply {
			items = append(items, expected(item))
		}
		return items
	case map[string]any:
		if text, ok := reply["simple"].(string); ok {
			return Status(text)
		}
		return Error(reply["error"].(string))
	}
	return reply
}

// anyOrder sorts a reply whose order means nothing; pairs stay together.
func anyOrder(reply any, pairs bool) []any {
	items := reply.([]any)
	if pairs {
		joined := []any{}
		for i := 0; i < len(items); i += 2 {
			joined = append(joined, []any{items[i], items[i+1]})
		}
		items = joined
	}
	slices.SortFunc(items, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return items
}

// Every SDK's store is tested with the same table, and so is the server.
func TestCommandsReplyAsInValkey(t *testing.T) {
	text, err := os.ReadFile("../../command-cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string][][2]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	if len(raw) != 6 {
		t.Fatal("the table is not whole")
	}
	for group, cases := range raw {
		store := New(t)
		for _, one := range cases {
			var argv []string
			var reply any
			if json.Unmarshal(one[0], &argv) != nil || json.Unmarshal(one[1], &reply) != nil {
				t.Fatalf("%s", one)
			}
			got := store.Do(argv...)
			if object, ok := reply.(map[string]any); ok && object["any_order"] != nil {
				got, reply = anyOrder(got, argv[0] == "HGETALL"), object["any_order"]
			}
			if want := expected(reply); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %q replies %#v, not %#v", group, argv, got, want)
			}
		}
	}
}
