package ferrite

import (
	"encoding"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

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

// reply replies a result: nil, a bool, an integer, a float, a string, []byte, Status, error, Pairs,
// Value, an encoding.TextMarshaler, or a pointer, a slice, an array, or a map from strings (in their
// order) of any of these. Types with such an underlying type count as well.
func reply(result any) {
	switch result := result.(type) {
	case nil:
		abi.Current.ReplyNull()
	case string:
		abi.Current.ReplyBulk(utf8Bytes(result))
	case []byte:
		abi.Current.ReplyBulk(result)
	case Status:
		abi.Current.ReplySimple(utf8Bytes(string(result)))
	case Pairs:
		abi.Current.ReplyMap(int32(len(result)))
		for _, pair := range result {
			reply(pair.Key)
			reply(pair.Value)
		}
	case Value:
		replyValue(result)
	case encoding.TextMarshaler:
		if isNil(result) {
			abi.Current.ReplyNull()
			return
		}
		text, err := result.MarshalText()
		if err != nil {
			reply(err)
			return
		}
		abi.Current.ReplyBulk(text)
	case error:
		replyError(result)
	default:
		replyKind(reflect.ValueOf(result))
	}
}

// replyKind replies a value by its underlying type.
func replyKind(value reflect.Value) {
	switch kind := value.Kind(); kind {
	case reflect.Bool:
		abi.Current.ReplyBool(value.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		abi.Current.ReplyInt(value.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if value.Uint() > math.MaxInt64 {
			// A number beyond the range of integer replies is replied as decimal text.
			abi.Current.ReplyBulk(strconv.AppendUint(nil, value.Uint(), 10))
			return
		}
		abi.Current.ReplyInt(int64(value.Uint()))
	case reflect.Float32, reflect.Float64:
		abi.Current.ReplyDouble(value.Float())
	case reflect.String:
		abi.Current.ReplyBulk(utf8Bytes(value.String()))
	case reflect.Slice, reflect.Array:
		if kind == reflect.Slice && value.Type().Elem().Kind() == reflect.Uint8 {
			abi.Current.ReplyBulk(value.Bytes())
			return
		}
		abi.Current.ReplyArray(int32(value.Len()))
		for i := range value.Len() {
			reply(value.Index(i).Interface())
		}
	case reflect.Map:
		if value.Type().Key().Kind() != reflect.String {
			cannotReply(value.Type(), "a map that is replied has strings for keys")
		}
		keys := value.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		abi.Current.ReplyMap(int32(len(keys)))
		for _, key := range keys {
			reply(key.String())
			reply(value.MapIndex(key).Interface())
		}
	case reflect.Pointer:
		if value.IsNil() {
			abi.Current.ReplyNull()
			return
		}
		reply(value.Elem().Interface())
	case reflect.Struct:
		cannotReply(value.Type(), "reply ferrite.Pairs, or ferrite.JSON of it")
	default:
		cannotReply(value.Type(), "see the list in the guide")
	}
}

func cannotReply(kind reflect.Type, instead string) {
	panic("ferrite: a value of type " + kind.String() + " cannot be replied; " + instead)
}

// isNil returns true for a pointer that is nil, on which a method may fail.
func isNil(value any) bool {
	pointer := reflect.ValueOf(value)
	return pointer.Kind() == reflect.Pointer && pointer.IsNil()
}

func replyError(err error) {
	abi.Current.ReplyError(utf8Bytes(withCode(err.Error())))
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
		abi.Current.ReplyArray(int32(len(value.Items)))
		for _, item := range value.Items {
			replyValue(item)
		}
	}
}
