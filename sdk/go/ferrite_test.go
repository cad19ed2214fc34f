package ferrite_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	ferrite "github.com/ferrite-wasm/ferrite-wasm/sdk/go"
	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/ferritetest"
)

type point struct{ X, Y int }

func everyType(text string, raw []byte, number int64, small int, ratio float64, yes bool) ([]any, error) {
	return []any{text, raw, number, small, ratio, yes, nil, ferrite.OK, errors.New("plain")}, nil
}

func everyTypeEntry() {
	ferrite.Serve6("every", everyType, "text", "raw", "number", "small", "ratio", "yes")
}

func TestParametersAndResultsHaveTheirTypes(t *testing.T) {
	store := ferritetest.New(t)
	reply := store.Call(everyTypeEntry, []string{"ü"}, []string{"\xff", "-5", "7", "0.5", "true"})
	expected := []any{
		"ü", "\xff", int64(-5), int64(7), 0.5, true, nil,
		ferritetest.Status("OK"), ferritetest.Error("ERR plain"),
	}
	if !reflect.DeepEqual(reply, expected) {
		t.Errorf("got %#v", reply)
	}
}

func TestMistakesNameTheParameter(t *testing.T) {
	store := ferritetest.New(t)
	good := []string{"", "1", "1", "1", "1"}
	for _, test := range []struct {
		keys     []string
		change   int
		value    string
		expected string
	}{
		{[]string{"\xff"}, 0, "", `ERR every: 'text' (KEYS[1], string) must be UTF-8 text, not "\xff"`},
		{[]string{"k"}, 1, "+1", `ERR every: 'number' (ARGS[2], int64) must be a 64-bit integer, not "+1"`},
		{[]string{"k"}, 2, "9223372036854775808", `ERR every: 'small' (ARGS[3], int) must be a 64-bit integer, not "9223372036854775808"`},
		{[]string{"k"}, 3, "nan", `ERR every: 'ratio' (ARGS[4], float64) must be a number, not "nan"`},
		{[]string{"k"}, 4, "yes", `ERR every: 'yes' (ARGS[5], bool) must be 1, 0, true or false, not "yes"`},
		{[]string{"k", "l"}, 0, "", `ERR every(text, raw, number, small, ratio, yes): ARGS[5] is one too many; got 2 keys and 5 arguments`},
		{nil, 0, "", `ERR every: 'number' (ARGS[3], int64) must be a 64-bit integer, not "x"`},
	} {
		args := append([]string{}, good...)
		args[test.change] = test.value
		if test.keys == nil {
			args = []string{"t", "r", "x"}
		}
		if len(test.keys) == 2 {
			args[0] = "5"
		}
		reply := store.Call(everyTypeEntry, test.keys, args)
		if reply != ferritetest.Error(test.expected) {
			t.Errorf("got      %v\nexpected %v", reply, test.expected)
		}
	}
	reply := store.Call(everyTypeEntry, nil, nil)
	missing := ferritetest.Error("ERR every(text, raw, number, small, ratio, yes): no value for 'text' (string); got 0 keys and 0 arguments")
	if reply != missing {
		t.Error(reply)
	}
}

func jsonEntry() {
	ferrite.Serve2("move", func(p ferrite.JSON[point], by []int64) (ferrite.JSON[point], error) {
		for _, n := range by {
			p.Value.X += int(n)
		}
		return p, nil
	}, "p", "by")
}

func TestJSONAndTheRestOfTheArguments(t *testing.T) {
	store := ferritetest.New(t)
	if reply := store.Call(jsonEntry, nil, []string{`{"X":1,"Y":2}`, "10", "20"}); reply != `{"X":31,"Y":2}` {
		t.Error(reply)
	}
	reply := store.Call(jsonEntry, nil, []string{`{"X":`})
	if text, _ := reply.(ferritetest.Error); !strings.HasPrefix(string(text), "ERR move: 'p' (ARGS[1], JSON) must be JSON (") {
		t.Error(reply)
	}
}

func storeEntry() {
	ferrite.Serve1("store", func(key string) (any, error) {
		long := strings.Repeat("x", 1000)
		lock := ferrite.SetOptions{IfAbsent: true, TTLMillis: 1500}
		var problems []any
		check := func(name string, holds bool, err error) {
			if !holds || err != nil {
				problems = append(problems, name)
			}
		}
		ok, err := ferrite.SetWith(key, []byte("7"), lock)
		check("lock", ok, err)
		ok, err = ferrite.SetWith(key, []byte("8"), lock)
		check("lock again", !ok, err)
		ttl, err := ferrite.TTL(key)
		check("ttl", ttl == 1500, err)
		sum, err := ferrite.IncrBy(key, -3)
		check("incr_by", sum == 4, err)
		ok, err = ferrite.Expire(key, 9)
		check("expire", ok, err)
		n, err := ferrite.Exists(key, "other")
		check("exists", n == 1, err)
		n, err = ferrite.Del(key, "other")
		check("del", n == 1, err)
		_, ok, err = ferrite.Get(key)
		check("get nothing", !ok, err)
		check("set", true, ferrite.Set("s", long))
		text, ok, err := ferrite.Get("s")
		check("get long", ok && text == long, err)
		ok, err = ferrite.HSet(key, "f", long)
		check("hset", ok, err)
		text, ok, err = ferrite.HGet(key, "f")
		check("hget", ok && text == long, err)
		all, err := ferrite.HGetAll(key)
		check("hgetall", len(all) == 1 && all["f"] == long, err)
		n, err = ferrite.HDel(key, "f", "g")
		check("hdel", n == 1, err)
		_, err = ferrite.Do("NOSUCH")
		check("an unknown command", err != nil, nil)
		number, err := ferrite.Do("INCRBY", "n", int64(5))
		count, ok := number.Int()
		check("do", ok && count == 5, err)
		random := make([]byte, 4)
		ferrite.Random(random)
		check("random", !bytes.Equal(random, make([]byte, 4)), nil)
		check("time", ferrite.TimeMillis() == 1_700_000_000_000, nil)
		ferrite.Log(ferrite.Warn, "done")
		return problems, nil
	}, "key")
}

func TestEveryFunctionOfTheStoreWorks(t *testing.T) {
	store := ferritetest.New(t)
	if reply := store.Call(storeEntry, []string{"k"}, nil); !reflect.DeepEqual(reply, []any{}) {
		t.Error(reply)
	}
	if !reflect.DeepEqual(store.Log, []ferritetest.LogLine{{Level: 3, Text: "done"}}) {
		t.Error(store.Log)
	}
}

func TestErrorsKeepTheirCode(t *testing.T) {
	store := ferritetest.New(t)
	for text, expected := range map[string]string{
		"OUT_OF_STOCK none": "OUT_OF_STOCK none",
		"no such user":      "ERR no such user",
		"A word":            "ERR A word",
		"ALONE":             "ERR ALONE",
		"50% off":           "ERR 50% off",
	} {
		entry := func() {
			ferrite.Serve0("fails", func() (any, error) { return nil, ferrite.Errorf("%s", text) })
		}
		if reply := store.Call(entry, nil, nil); reply != ferritetest.Error(expected) {
			t.Error(reply)
		}
	}
	if text := ferrite.Errorf("OUT_OF_STOCK %s, %d left", "tea", 3).Error(); text != "OUT_OF_STOCK tea, 3 left" {
		t.Error(text)
	}
}

func TestAPanicIsOneEntryOfTheLogWithItsStack(t *testing.T) {
	for name, entry := range map[string]func(){
		"while it runs": func() {
			ferrite.Serve0("panics", func() (any, error) { panic("on purpose") })
		},
		"while it replies": func() {
			ferrite.Serve0("panics", func() (any, error) { return []any{1, panics{}}, nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := ferritetest.New(t)
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
				if len(store.Log) != 1 || store.Log[0].Level != 4 {
					t.Fatal(store.Log)
				}
				text := store.Log[0].Text
				if !strings.HasPrefix(text, "panic: on purpose\ngoroutine ") || !strings.Contains(text, "ferrite_test.go:") {
					t.Error(text)
				}
			}()
			store.Call(entry, nil, nil)
		})
	}
}

type panics struct{}

func (panics) MarshalText() ([]byte, error) { panic("on purpose") }

type celsius float64
type colour string
type colours []colour

func TestEveryShapeOfTheGuideIsReplied(t *testing.T) {
	store := ferritetest.New(t)
	none := (*point)(nil)
	seven := 7
	for _, test := range []struct{ result, expected any }{
		{nil, nil},
		{none, nil},
		{&seven, int64(7)},
		{(*ferrite.JSON[point])(nil), nil},
		{int8(-1), int64(-1)},
		{uint16(65535), int64(65535)},
		{uint64(18446744073709551615), "18446744073709551615"},
		{float32(0.5), 0.5},
		{celsius(-1.5), -1.5},
		{colour("red"), "red"},
		{colours{"red", "blue"}, []any{"red", "blue"}},
		{[]int{1, 2}, []any{int64(1), int64(2)}},
		{[]bool{true}, []any{true}},
		{[2]string{"a", "b"}, []any{"a", "b"}},
		{[][]string{{"a"}, {}, nil}, []any{[]any{"a"}, []any{}, []any{}}},
		{[][]byte{{0xff}}, []any{"\xff"}},
		{json.RawMessage(`{"a":1}`), `{"a":1}`},
		{map[string]int{"b": 2, "a": 1}, ferritetest.Map{"a", int64(1), "b", int64(2)}},
		{map[colour][]string{"red": {"x"}}, ferritetest.Map{"red", []any{"x"}}},
		{[]map[string]any{{"a": nil}}, []any{ferritetest.Map{"a", nil}}},
		{ferrite.Pairs{{Key: "z", Value: uint8(1)}, {Key: "a", Value: ferrite.OK}}, ferritetest.Map{"z", int64(1), "a", ferritetest.Status("OK")}},
		{ferrite.JSON[point]{Value: point{1, 2}}, `{"X":1,"Y":2}`},
		{[]error{errors.New("plain")}, []any{ferritetest.Error("ERR plain")}},
		{"half of \U0001F600"[:10], "half of \uFFFD"},
	} {
		reply := store.Call(func() {
			ferrite.Serve0("replies", func() (any, error) { return test.result, nil })
		}, nil, nil)
		if !reflect.DeepEqual(reply, test.expected) {
			t.Errorf("%#v is replied as %#v", test.result, reply)
		}
	}
}

func TestWhatCannotBeRepliedIsSaid(t *testing.T) {
	store := ferritetest.New(t)
	for _, test := range []struct {
		result   any
		expected string
	}{
		{point{}, "ferrite: a value of type ferrite_test.point cannot be replied; reply ferrite.Pairs, or ferrite.JSON of it"},
		{map[int]int{}, "ferrite: a value of type map[int]int cannot be replied; a map that is replied has strings for keys"},
		{make(chan int), "ferrite: a value of type chan int cannot be replied; see the list in the guide"},
	} {
		func() {
			defer func() {
				if thrown := recover(); thrown != test.expected {
					t.Error(thrown)
				}
			}()
			store.Call(func() {
				ferrite.Serve0("replies", func() (any, error) { return test.result, nil })
			}, nil, nil)
		}()
	}
}

func TestTextIsUTF8(t *testing.T) {
	store := ferritetest.New(t)
	half := "\U0001F600"[:2]
	reply := store.Call(func() {
		ferrite.Serve0("writes", func() (any, error) {
			problems := []any{}
			note := func(err error) { problems = append(problems, err) }
			note(ferrite.Set("text", half))
			_, err := ferrite.HSet("hash", half, half)
			note(err)
			_, err = ferrite.Do("SET", "other", half)
			note(err)
			note(ferrite.SetBytes("bytes", []byte(half)))
			_, _, err = ferrite.Get("bytes")
			note(err)
			raw, _, err := ferrite.GetBytes("bytes")
			note(err)
			return append(problems, raw), nil
		})
	}, nil, nil)
	refused := ferritetest.Error(`ERR the value of key "bytes" must be UTF-8 text, not "\xf0\x9f"`)
	if expected := []any{nil, nil, nil, nil, refused, nil, half}; !reflect.DeepEqual(reply, expected) {
		t.Errorf("%#v", reply)
	}
	for _, key := range []string{"text", "other"} {
		if stored := store.Do("GET", key); stored != "\uFFFD" {
			t.Errorf("%q", stored)
		}
	}
	if stored := store.Do("HGET", "hash", "\uFFFD"); stored != "\uFFFD" {
		t.Errorf("%q", stored)
	}
}
