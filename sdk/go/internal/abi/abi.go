// Package abi is the guest ABI of Ferrite WASM, version 1, with slices instead of pointers.
//
// In a guest its functions are the host's. Elsewhere they are those of the Host that
// package ferritetest installs.
package abi

import "math"

// Statuses: results of a host function without a value. Those from Denied down are errors.
const (
	NotFound  = -1
	NotStored = -2
	Denied    = -16
	ReadOnly  = -17
	WrongType = -18
	Invalid   = -19
	Limit     = -20
	Store     = -21
)

// Options of Set.
const (
	NX      = 1
	XX      = 2
	KeepTTL = 4
)

// Host is the interface of the host's functions.
type Host interface {
	KeyCount() int32
	ArgCount() int32
	Key(index int32, buf []byte) int32
	Arg(index int32, buf []byte) int32
	ReplyNull()
	ReplyBool(value bool)
	ReplyInt(value int64)
	ReplyDouble(value float64)
	ReplyBulk(value []byte)
	ReplySimple(text []byte)
	ReplyError(text []byte)
	ReplyArray(n int32)
	ReplyMap(n int32)
	Get(key, buf []byte) int32
	Set(key, value []byte, options int32, ttlMillis int64) int32
	Del(keys [][]byte) int32
	Exists(keys [][]byte) int32
	IncrBy(key []byte, delta int64) (int64, int32)
	Expire(key []byte, ttlMillis int64) int32
	TTL(key []byte) int64
	HGet(key, field, buf []byte) int32
	HSet(key, field, value []byte) int32
	HDel(key []byte, fields [][]byte) int32
	Call(command, args, buf []byte) int32
	HTTP(request, buf []byte) int32
	AfterCommit(request, buf []byte) int32
	Config(name, buf []byte) int32
	Take(buf []byte, offset int) int32
	Log(level int32, text []byte)
	TimeMillis() int64
	Random(buf []byte)
}

// firstBytes is the number of bytes of a result to fetch at first; most results are shorter.
const firstBytes = 256

// Result fetches a whole result: ask fills a buffer and returns the full length or a status.
func Result(ask func(buf []byte) int32) ([]byte, int32) {
	first := make([]byte, firstBytes)
	n := ask(first)
	if n < 0 {
		return nil, n
	}
	if n <= firstBytes {
		return first[:n], n
	}
	whole := make([]byte, n)
	copy(whole, first)
	if Current.Take(whole[firstBytes:], firstBytes) != n-firstBytes {
		return nil, Store
	}
	return whole, n
}

// length returns a slice's length in the type of the ABI.
func length(n int) uint32 {
	if uint64(n) > math.MaxInt32 {
		panic("ferrite: more than 2 GiB")
	}
	return uint32(n)
}
