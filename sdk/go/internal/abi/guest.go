//go:build wasip1

package abi

import (
	"os"
	"unsafe"
)

// Current is the host that the module runs in.
var Current guest

// guest calls the host's functions: it passes a pointer and a length that come from one slice.
type guest struct{}

//go:wasmimport ferrite key_count
func keyCount() int32

//go:wasmimport ferrite arg_count
func argCount() int32

//go:wasmimport ferrite key
func key(index int32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite arg
func arg(index int32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite reply_null
func replyNull()

//go:wasmimport ferrite reply_bool
func replyBool(value int32)

//go:wasmimport ferrite reply_int
func replyInt(value int64)

//go:wasmimport ferrite reply_double
func replyDouble(value float64)

//go:wasmimport ferrite reply_bulk
func replyBulk(ptr unsafe.Pointer, n uint32)

//go:wasmimport ferrite reply_simple
func replySimple(ptr unsafe.Pointer, n uint32)

//go:wasmimport ferrite reply_error
func replyError(ptr unsafe.Pointer, n uint32)

//go:wasmimport ferrite reply_array
func replyArray(n int32)

//go:wasmimport ferrite reply_map
func replyMap(n int32)

//go:wasmimport ferrite get
func get(key unsafe.Pointer, klen uint32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite set
func set(key unsafe.Pointer, klen uint32, val unsafe.Pointer, vlen uint32, options int32, ttlMillis int64) int32

//go:wasmimport ferrite del
func del(pairs unsafe.Pointer, count uint32) int32

//go:wasmimport ferrite exists
func exists(pairs unsafe.Pointer, count uint32) int32

//go:wasmimport ferrite incr_by
func incrBy(key unsafe.Pointer, klen uint32, delta int64, out unsafe.Pointer) int32

//go:wasmimport ferrite expire
func expire(key unsafe.Pointer, klen uint32, ttlMillis int64) int32

//go:wasmimport ferrite ttl
func ttl(key unsafe.Pointer, klen uint32) int64

//go:wasmimport ferrite hget
func hget(key unsafe.Pointer, klen uint32, field unsafe.Pointer, flen uint32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite hset
func hset(key unsafe.Pointer, klen uint32, field unsafe.Pointer, flen uint32, val unsafe.Pointer, vlen uint32) int32

//go:wasmimport ferrite hdel
func hdel(key unsafe.Pointer, klen uint32, pairs unsafe.Pointer, count uint32) int32

//go:wasmimport ferrite call
func call(cmd unsafe.Pointer, cmdlen uint32, args unsafe.Pointer, argslen uint32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite http
func http(request unsafe.Pointer, n uint32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite after_commit
func afterCommit(request unsafe.Pointer, n uint32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite config
func config(name unsafe.Pointer, nlen uint32, buf unsafe.Pointer, capacity uint32) int32

//go:wasmimport ferrite take
func take(buf unsafe.Pointer, offset uint32, n uint32) int32

//go:wasmimport ferrite log
func log(level int32, ptr unsafe.Pointer, n uint32)

//go:wasmimport ferrite time_millis
func timeMillis() int64

//go:wasmimport ferrite random
func random(buf unsafe.Pointer, n uint32)

// at returns a slice's address. The host gets its length too, and reads or writes no further.
func at(slice []byte) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(slice))
}

// pair is a slice as the host reads it from memory.
type pair struct {
	ptr uint32
	n   uint32
}

func pairs(slices [][]byte) (unsafe.Pointer, uint32) {
	table := make([]pair, len(slices))
	for i, slice := range slices {
		table[i] = pair{uint32(uintptr(at(slice))), length(len(slice))}
	}
	return unsafe.Pointer(unsafe.SliceData(table)), length(len(slices))
}

func (guest) KeyCount() int32 { return keyCount() }

func (guest) ArgCount() int32 { return argCount() }

func (guest) Key(index int32, buf []byte) int32 { return key(index, at(buf), length(len(buf))) }

func (guest) Arg(index int32, buf []byte) int32 { return arg(index, at(buf), length(len(buf))) }

func (guest) ReplyNull() { replyNull() }

func (guest) ReplyBool(value bool) {
	if value {
		replyBool(1)
	} else {
		replyBool(0)
	}
}

func (guest) ReplyInt(value int64) { replyInt(value) }

func (guest) ReplyDouble(value float64) { replyDouble(value) }

func (guest) ReplyBulk(value []byte) { replyBulk(at(value), length(len(value))) }

func (guest) ReplySimple(text []byte) { replySimple(at(text), length(len(text))) }

func (guest) ReplyError(text []byte) { replyError(at(text), length(len(text))) }

func (guest) ReplyArray(n int32) { replyArray(n) }

func (guest) ReplyMap(n int32) { replyMap(n) }

func (guest) Get(key, buf []byte) int32 {
	return get(at(key), length(len(key)), at(buf), length(len(buf)))
}

func (guest) Set(key, value []byte, options int32, ttlMillis int64) int32 {
	return set(at(key), length(len(key)), at(value), length(len(value)), options, ttlMillis)
}

func (guest) Del(keys [][]byte) int32 { return del(pairs(keys)) }

func (guest) Exists(keys [][]byte) int32 { return exists(pairs(keys)) }

func (guest) IncrBy(key []byte, delta int64) (int64, int32) {
	var sum int64
	status := incrBy(at(key), length(len(key)), delta, unsafe.Pointer(&sum))
	return sum, status
}

func (guest) Expire(key []byte, ttlMillis int64) int32 {
	return expire(at(key), length(len(key)), ttlMillis)
}

func (guest) TTL(key []byte) int64 { return ttl(at(key), length(len(key))) }

func (guest) HGet(key, field, buf []byte) int32 {
	return hget(at(key), length(len(key)), at(field), length(len(field)), at(buf), length(len(buf)))
}

func (guest) HSet(key, field, value []byte) int32 {
	return hset(at(key), length(len(key)), at(field), length(len(field)), at(value), length(len(value)))
}

func (guest) HDel(key []byte, fields [][]byte) int32 {
	table, count := pairs(fields)
	return hdel(at(key), length(len(key)), table, count)
}

func (guest) Call(command, args, buf []byte) int32 {
	return call(at(command), length(len(command)), at(args), length(len(args)), at(buf), length(len(buf)))
}

func (guest) HTTP(request, buf []byte) int32 {
	return http(at(request), length(len(request)), at(buf), length(len(buf)))
}

func (guest) AfterCommit(request, buf []byte) int32 {
	return afterCommit(at(request), length(len(request)), at(buf), length(len(buf)))
}

func (guest) Config(name, buf []byte) int32 {
	return config(at(name), length(len(name)), at(buf), length(len(buf)))
}

func (guest) Take(buf []byte, offset int) int32 {
	return take(at(buf), length(offset), length(len(buf)))
}

func (guest) Log(level int32, text []byte) { log(level, at(text), length(len(text))) }

func (guest) TimeMillis() int64 { return timeMillis() }

func (guest) Random(buf []byte) { random(at(buf), length(len(buf))) }

// Exit ends the call. The log has said why already, so that the runtime need not print it again.
func Exit(_ any) {
	os.Exit(2)
}
