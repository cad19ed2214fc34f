//go:build !wasip1

package ferritetest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/internal/abi"
)

// host is a store as functions see it.
type host struct {
	*Store
}

// fill copies as much as fits, keeps a longer result for Take, and returns the full length.
func (s host) fill(buf []byte, bytes string) int32 {
	if copy(buf, bytes) < len(bytes) {
		s.long = []byte(bytes)
	}
	return int32(len(bytes))
}

func (s host) input(list []string, index int32, buf []byte) int32 {
	if index < 0 || int(index) >= len(list) {
		return abi.NotFound
	}
	return s.fill(buf, list[index])
}

// count returns a command's integer, or the status of its error.
func (s host) count(argv ...string) int64 {
	switch reply := s.data.run(argv).(type) {
	case int64:
		return reply
	case Error:
		return status(reply)
	}
	return abi.Store
}

// text fills a command's string into a buffer.
func (s host) text(buf []byte, argv ...string) int32 {
	switch reply := s.data.run(argv).(type) {
	case string:
		return s.fill(buf, reply)
	case Error:
		return int32(status(reply))
	}
	return abi.NotFound
}

func status(err Error) int64 {
	if strings.HasPrefix(string(err), "WRONGTYPE") {
		return abi.WrongType
	}
	return abi.Invalid
}

func texts(first string, slices [][]byte) []string {
	all := []string{first}
	for _, slice := range slices {
		all = append(all, string(slice))
	}
	return all
}

func line(text []byte) string {
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(string(text))
}

func (s host) push(reply any) { s.replies = append(s.replies, reply) }

func (s host) KeyCount() int32 { return int32(len(s.keys)) }

func (s host) ArgCount() int32 { return int32(len(s.args)) }

func (s host) Key(index int32, buf []byte) int32 { return s.input(s.keys, index, buf) }

func (s host) Arg(index int32, buf []byte) int32 { return s.input(s.args, index, buf) }

func (s host) ReplyNull() { s.push(nil) }

func (s host) ReplyBool(value bool) { s.push(value) }

func (s host) ReplyInt(value int64) { s.push(value) }

func (s host) ReplyDouble(value float64) { s.push(value) }

func (s host) ReplyBulk(value []byte) { s.push(string(value)) }

func (s host) ReplySimple(text []byte) { s.push(Status(line(text))) }

func (s host) ReplyError(text []byte) { s.push(Error(line(text))) }

func (s host) ReplyArray(n int32) { s.push(open{false, int(n)}) }

func (s host) ReplyMap(n int32) { s.push(open{true, 2 * int(n)}) }

func (s host) Get(key, buf []byte) int32 { return s.text(buf, "GET", string(key)) }

func (s host) Set(key, value []byte, options int32, ttlMillis int64) int32 {
	argv := []string{"SET", string(key), string(value)}
	for bit, word := range map[int32]string{abi.NX: "NX", abi.XX: "XX", abi.KeepTTL: "KEEPTTL"} {
		if options&bit != 0 {
			argv = append(argv, word)
		}
	}
	if ttlMillis >= 0 {
		argv = append(argv, "PX", strconv.FormatInt(ttlMillis, 10))
	}
	switch s.data.run(argv).(type) {
	case Status:
		return 0
	case nil:
		return abi.NotStored
	}
	return abi.Invalid
}

func (s host) Del(keys [][]byte) int32 { return int32(s.count(texts("DEL", keys)...)) }

func (s host) Exists(keys [][]byte) int32 { return int32(s.count(texts("EXISTS", keys)...)) }

func (s host) IncrBy(key []byte, delta int64) (int64, int32) {
	switch reply := s.data.run([]string{"INCRBY", string(key), strconv.FormatInt(delta, 10)}).(type) {
	case int64:
		return reply, 0
	case Error:
		return 0, int32(status(reply))
	}
	return 0, abi.Store
}

func (s host) Expire(key []byte, ttlMillis int64) int32 {
	return int32(s.count("PEXPIRE", string(key), strconv.FormatInt(ttlMillis, 10)))
}

func (s host) TTL(key []byte) int64 { return s.count("PTTL", string(key)) }

func (s host) HGet(key, field, buf []byte) int32 {
	return s.text(buf, "HGET", string(key), string(field))
}

func (s host) HSet(key, field, value []byte) int32 {
	return int32(s.count("HSET", string(key), string(field), string(value)))
}

func (s host) HDel(key []byte, fields [][]byte) int32 {
	return int32(s.count(append([]string{"HDEL", string(key)}, texts("", fields)[1:]...)...))
}

func (s host) Call(command, args, buf []byte) int32 {
	list, ok := decode(string(args))
	if !ok {
		return abi.Invalid
	}
	return s.fill(buf, encode(s.data.run(append([]string{string(command)}, list...))))
}

func (s host) HTTP(request, buf []byte) int32 {
	words, ok := decode(string(request))
	if !ok || len(words) < 3 {
		return abi.Invalid
	}
	s.Requests = append(s.Requests, Request{Method: words[0], URL: words[1], Body: words[2]})
	for i := len(s.prepared) - 1; i >= 0; i-- {
		answer := s.prepared[i]
		if answer.method == words[0] && answer.url == words[1] {
			return s.fill(buf, encode([]any{int64(answer.status), answer.url, answer.body}))
		}
	}
	return s.fill(buf, encode(Error("CONNECT the test has no response for "+words[0]+" "+words[1]+"; prepare one with Respond")))
}

// AfterCommit keeps a request; its key is the one it has, or one with its number.
func (s host) AfterCommit(request, buf []byte) int32 {
	words, ok := decode(string(request))
	if !ok || len(words) < 3 {
		return abi.Invalid
	}
	s.Store.AfterCommit = append(s.Store.AfterCommit, Request{Method: words[0], URL: words[1], Body: words[2]})
	key := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(s.Store.AfterCommit))
	for i := 3; i+1 < len(words); i += 2 {
		if strings.EqualFold(words[i], "idempotency-key") {
			key = words[i+1]
		}
	}
	return s.fill(buf, encode(key))
}

func (s host) Config(name, buf []byte) int32 {
	value, ok := s.Store.Config[string(name)]
	if !ok {
		return abi.NotFound
	}
	return s.fill(buf, value)
}

func (s host) Take(buf []byte, offset int) int32 {
	if offset > len(s.long) {
		return abi.NotFound
	}
	return int32(copy(buf, s.long[offset:]))
}

func (s host) Log(level int32, text []byte) {
	s.Store.Log = append(s.Store.Log, LogLine{level, string(text)})
}

func (s host) TimeMillis() int64 { return s.data.now }

// Random fills a buffer with 1, 2, 3, …
func (s host) Random(buf []byte) {
	for i := range buf {
		s.random++
		buf[i] = s.random
	}
}
