package ferrite

import (
	"cmp"
	"encoding"
	"slices"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/internal/abi"
)

// Pair is one of the Pairs of a map.
type Pair struct {
	Key, Value any
}

// Pairs is a map with a fixed order.
type Pairs []Pair

// Status is a status text, such as OK, in place of a string.
type Status string

// OK is the reply of functions that have no other result.
const OK Status = "OK"

// reply replies a result: nil, a bool, an integer, a float64, a string, []byte, Status, error, Pairs,
// Value, a slice of any of these, a map from strings (in their order), or an encoding.TextMarshaler.
func reply(result any) {
	switch result := result.(type) {
	case nil:
		abi.Current.ReplyNull()
	case bool:
		abi.Current.ReplyBool(result)
	case int:
		abi.Current.ReplyInt(int64(result))
	case int32:
		abi.Current.ReplyInt(int64(result))
	case int64:
		abi.Current.ReplyInt(result)
	case float64:
		abi.Current.ReplyDouble(result)
	case string:
		abi.Current.ReplyBulk([]byte(result))
	case []byte:
		abi.Current.ReplyBulk(result)
	case Status:
		abi.Current.ReplySimple([]byte(result))
	case []any:
		replySlice(result)
	case []string:
		replySlice(result)
	case []int64:
		replySlice(result)
	case []float64:
		replySlice(result)
	case map[string]any:
		replyMap(result)
	case map[string]string:
		replyMap(result)
	case map[string]int64:
		replyMap(result)
	case map[string]float64:
		replyMap(result)
	case Pairs:
		abi.Current.ReplyMap(int32(len(result)))
		for _, pair := range result {
			reply(pair.Key)
			reply(pair.Value)
		}
	case Value:
		replyValue(result)
	case encoding.TextMarshaler:
		text, err := result.MarshalText()
		if err != nil {
			reply(err)
			return
		}
		abi.Current.ReplyBulk(text)
	case error:
		abi.Current.ReplyError([]byte(withCode(result.Error())))
	default:
		panic("ferrite: a result is of a type that cannot be replied")
	}
}

func replySlice[T any](items []T) {
	abi.Current.ReplyArray(int32(len(items)))
	for _, item := range items {
		reply(item)
	}
}

func replyMap[K cmp.Ordered, V any](items map[K]V) {
	keys := make([]K, 0, len(items))
	for key := range items {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	abi.Current.ReplyMap(int32(len(items)))
	for _, key := range keys {
		reply(key)
		reply(items[key])
	}
}

func replyValue(value Value) {
	switch value.Kind {
	case KindNull:
		abi.Current.ReplyNull()
	case KindInt:
		abi.Current.ReplyInt(value.number)
	case KindString:
		abi.Current.ReplyBulk([]byte(value.text))
	case KindError:
		abi.Current.ReplyError([]byte(value.text))
	case KindArray:
		replySlice(value.Items)
	}
}
