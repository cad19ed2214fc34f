// Package ferrite lets Go write functions for Ferrite WASM.
//
//	//go:wasmexport rate_limit
//	func rateLimitEntry() { ferrite.Serve3("rate_limit", rateLimit, "key", "limit", "window_secs") }
//
//	func rateLimit(key string, limit, windowSecs int64) (bool, error) {
//		current, err := ferrite.GetInt(key)
//		if err != nil || current >= limit {
//			return false, err
//		}
//		if _, err := ferrite.Incr(key); err != nil {
//			return false, err
//		}
//		if current == 0 {
//			_, err = ferrite.Expire(key, windowSecs)
//		}
//		return err == nil, err
//	}
//
// All of a call's writes take effect together when it succeeds, and none of them otherwise.
// Package ferritetest has a store in memory, for tests without a server.
package ferrite

import (
	"iter"
	"math"
	"strconv"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/internal/abi"
)

// Get reads a string, which must be UTF-8; ok is true if the key exists.
func Get(key string) (value string, ok bool, err error) {
	bytes, ok, err := GetBytes(key)
	if err == nil {
		value, err = asText(bytes, "key", utf8Bytes(key))
	}
	return value, ok && err == nil, err
}

// GetBytes reads a string's bytes; ok is true if the key exists.
func GetBytes(key string) (value []byte, ok bool, err error) {
	name := utf8Bytes(key)
	value, status := abi.Result(func(buf []byte) int32 { return abi.Current.Get(name, buf) })
	return value, status >= 0, found(status, "get", name)
}

// Config reads a value of the function's own configuration, which CONFIG of WASM.LOAD and WASM.CONFIG
// set; ok is true if it has one of this name. Secrets belong there, and not into code.
func Config(name string) (value string, ok bool, err error) {
	subject := utf8Bytes(name)
	bytes, status := abi.Result(func(buf []byte) int32 { return abi.Current.Config(subject, buf) })
	if status < 0 {
		return "", false, found(status, "config", subject)
	}
	return string(bytes), true, nil
}

// GetInt reads a string as an integer; 0 if the key does not exist.
func GetInt(key string) (int64, error) {
	bytes, ok, err := GetBytes(key)
	if err != nil || !ok {
		return 0, err
	}
	number, ok := parseInt(bytes)
	if !ok {
		return 0, newError("ERR the value of key ", excerpt(utf8Bytes(key)), " must be a 64-bit integer, not ", excerpt(bytes))
	}
	return number, nil
}

// SetOptions are conditions and expiry of SetWith. The zero value has none.
type SetOptions struct {
	// IfAbsent writes only if the key does not exist.
	IfAbsent bool
	// IfPresent writes only if the key exists.
	IfPresent bool
	// KeepTTL keeps the key's expiry.
	KeepTTL bool
	// TTLMillis expires the key after this many milliseconds; 0 is no expiry.
	TTLMillis int64
}

// Set writes a string and removes the key's expiry.
func Set(key, value string) error {
	return SetBytes(key, utf8Bytes(value))
}

// SetBytes writes a string's bytes and removes the key's expiry.
func SetBytes(key string, value []byte) error {
	_, err := SetWith(key, value, SetOptions{})
	return err
}

// SetWith writes a string on conditions or with an expiry; returns true if it was written.
func SetWith(key string, value []byte, options SetOptions) (bool, error) {
	var bits int32
	if options.IfAbsent {
		bits |= abi.NX
	}
	if options.IfPresent {
		bits |= abi.XX
	}
	if options.KeepTTL {
		bits |= abi.KeepTTL
	}
	ttl := options.TTLMillis
	if ttl == 0 {
		ttl = -1
	}
	name := utf8Bytes(key)
	status := abi.Current.Set(name, value, bits, ttl)
	if status == abi.NotStored {
		return false, nil
	}
	return status == 0, failed(int64(status), "set", name)
}

// Incr adds one to an integer, which starts at 0; returns the sum.
func Incr(key string) (int64, error) {
	return IncrBy(key, 1)
}

// IncrBy adds to an integer, which starts at 0; returns the sum.
func IncrBy(key string, delta int64) (int64, error) {
	name := utf8Bytes(key)
	sum, status := abi.Current.IncrBy(name, delta)
	return sum, failed(int64(status), "incr_by", name)
}

// Expire lets a key expire after secs seconds, at once if that is 0 or less; true if it exists.
func Expire(key string, secs int64) (bool, error) {
	millis := secs * 1000
	if millis/1000 != secs {
		millis = math.MaxInt64
		if secs < 0 {
			millis = math.MinInt64
		}
	}
	return ExpireMillis(key, millis)
}

// ExpireMillis lets a key expire after millis milliseconds; returns true if the key exists.
func ExpireMillis(key string, millis int64) (bool, error) {
	name := utf8Bytes(key)
	status := abi.Current.Expire(name, millis)
	return status > 0, failed(int64(status), "expire", name)
}

// TTL returns the milliseconds until a key expires: -1 without expiry, -2 without key.
func TTL(key string) (int64, error) {
	name := utf8Bytes(key)
	millis := abi.Current.TTL(name)
	if millis > abi.Denied {
		return millis, nil
	}
	return 0, failed(millis, "ttl", name)
}

// Del deletes keys; returns the number of keys that existed.
func Del(keys ...string) (int, error) {
	names := bytesOf(keys)
	return count(abi.Current.Del(names), "del", names)
}

// Exists counts the keys that exist.
func Exists(keys ...string) (int, error) {
	names := bytesOf(keys)
	return count(abi.Current.Exists(names), "exists", names)
}

// HGet reads a hash's field, which must be UTF-8; ok is true if it exists.
func HGet(key, field string) (value string, ok bool, err error) {
	bytes, ok, err := HGetBytes(key, field)
	if err == nil {
		value, err = asText(bytes, "field", utf8Bytes(field))
	}
	return value, ok && err == nil, err
}

// HGetBytes reads the bytes of a hash's field; ok is true if it exists.
func HGetBytes(key, field string) (value []byte, ok bool, err error) {
	name, part := utf8Bytes(key), utf8Bytes(field)
	value, status := abi.Result(func(buf []byte) int32 { return abi.Current.HGet(name, part, buf) })
	return value, status >= 0, found(status, "hget", name)
}

// HSet writes a hash's field; returns true if it is new.
func HSet(key, field, value string) (bool, error) {
	return HSetBytes(key, field, utf8Bytes(value))
}

// HSetBytes writes the bytes of a hash's field; returns true if it is new.
func HSetBytes(key, field string, value []byte) (bool, error) {
	name := utf8Bytes(key)
	status := abi.Current.HSet(name, utf8Bytes(field), value)
	return status > 0, failed(int64(status), "hset", name)
}

// HDel deletes fields of a hash; returns the number of fields that existed.
func HDel(key string, fields ...string) (int, error) {
	name := utf8Bytes(key)
	return count(abi.Current.HDel(name, bytesOf(fields)), "hdel", [][]byte{name})
}

// HGetAll reads a whole hash, which must be UTF-8; returns an empty map if the key does not exist.
func HGetAll(key string) (map[string]string, error) {
	reply, err := Do("HGETALL", key)
	if err != nil {
		return nil, err
	}
	for i, item := range reply.Items {
		what := [...]string{"a field's name in", "a field in"}[i%2]
		if _, err := asText(item.Bytes(), what, utf8Bytes(key)); err != nil {
			return nil, err
		}
	}
	return reply.StringMap(), nil
}

// ScanKeys goes through the keys that match a pattern, page by page: other calls and commands run in between. A key that
// is there all the time comes at least once, perhaps twice; one that comes or goes meanwhile may be missing. After an
// error it ends. In a cluster these are the keys of the node that runs the call.
func ScanKeys(pattern string) iter.Seq2[string, error] {
	const pageSize = 500
	return func(yield func(string, error) bool) {
		for cursor := "0"; ; {
			page, err := Do("SCAN", cursor, "MATCH", pattern, "COUNT", pageSize)
			if err == nil && len(page.Items) != 2 {
				err = newError("ERR the reply of SCAN is malformed")
			}
			if err != nil {
				yield("", err)
				return
			}
			for _, key := range page.Items[1].Strings() {
				if !yield(key, nil) {
					return
				}
			}
			if cursor = page.Items[0].String(); cursor == "0" {
				return
			}
		}
	}
}

// Do runs any command. An argument is a string, []byte, an integer, a float64 or a bool.
func Do(command string, args ...any) (Value, error) {
	texts := make([][]byte, len(args))
	for i, arg := range args {
		texts[i] = argument(arg)
	}
	list := encodeList(texts)
	name := utf8Bytes(command)
	bytes, status := abi.Result(func(buf []byte) int32 { return abi.Current.Call(name, list, buf) })
	if status < 0 {
		return Value{}, failed(int64(status), "call", name)
	}
	value, rest, ok := decode(bytes, 0)
	if !ok || len(rest) > 0 {
		return Value{}, newError("ERR the reply of ", command, " is malformed")
	}
	if value.Kind == KindError {
		return Value{}, newError(value.text)
	}
	return value, nil
}

// encodeList writes texts as a RESP array of bulk strings.
func encodeList(texts [][]byte) []byte {
	list := append(strconv.AppendInt([]byte{'*'}, int64(len(texts)), 10), '\r', '\n')
	for _, text := range texts {
		list = append(strconv.AppendInt(append(list, '$'), int64(len(text)), 10), '\r', '\n')
		list = append(append(list, text...), '\r', '\n')
	}
	return list
}

// Level is the importance of a log line.
type Level int32

// The levels, from the least important.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	ErrorLevel
)

// Log writes a line to the server's log.
func Log(level Level, text string) {
	abi.Current.Log(int32(level), utf8Bytes(text))
}

// TimeMillis returns the milliseconds since 1970, the same throughout a call.
func TimeMillis() int64 {
	return abi.Current.TimeMillis()
}

// Random fills a buffer with random bytes.
func Random(buf []byte) {
	abi.Current.Random(buf)
}

func bytesOf(texts []string) [][]byte {
	all := make([][]byte, len(texts))
	for i, text := range texts {
		all[i] = utf8Bytes(text)
	}
	return all
}

func count(n int32, operation string, subjects [][]byte) (int, error) {
	var subject []byte
	if len(subjects) > 0 {
		subject = subjects[0]
	}
	return int(max(n, 0)), failed(int64(n), operation, subject)
}

func argument(value any) []byte {
	switch value := value.(type) {
	case string:
		return utf8Bytes(value)
	case []byte:
		return value
	case int:
		return strconv.AppendInt(nil, int64(value), 10)
	case int32:
		return strconv.AppendInt(nil, int64(value), 10)
	case int64:
		return strconv.AppendInt(nil, value, 10)
	case uint64:
		return strconv.AppendUint(nil, value, 10)
	case float64:
		return strconv.AppendFloat(nil, value, 'g', -1, 64)
	case bool:
		if value {
			return []byte{'1'}
		}
		return []byte{'0'}
	}
	panic("ferrite: an argument of Do is a string, []byte, an integer, a float64 or a bool")
}
