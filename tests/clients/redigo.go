// Uses a server through redigo, as applications in Go do; the argument is the server's port. Any
// difference ends it with an error.
package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// A scalar: adds one.
const add1 = `(module
  (func (export "run") (param i32) (result i32)
    local.get 0 i32.const 1 i32.add))`

func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func equal(found, expected any) {
	if !reflect.DeepEqual(found, expected) {
		fail("%#v is not %#v", found, expected)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

func refused(part string, err error) {
	var answer redis.Error
	if !errors.As(err, &answer) || !strings.Contains(answer.Error(), part) {
		fail("%v does not say %q", err, part)
	}
}

func usualCalls(c redis.Conn) {
	must(c.Do("FLUSHDB"))
	equal(must(redis.String(c.Do("PING"))), "PONG")
	equal(must(redis.String(c.Do("SET", "k", []byte("v\r\n\x00"), "EX", 100))), "OK")
	equal(must(redis.Bytes(c.Do("GET", "k"))), []byte("v\r\n\x00"))
	_, err := redis.Bytes(c.Do("GET", "nothing"))
	equal(err, redis.ErrNil)
	must(c.Do("MSET", redis.Args{}.AddFlat(map[string]int{"a": 1, "b": 2})...))
	equal(must(redis.Int(c.Do("INCRBY", "a", 41))), 42)
	must(c.Do("HSET", redis.Args{"h"}.AddFlat(struct {
		X int    `redis:"x"`
		Y string `redis:"y"`
	}{1, "two"})...))
	equal(must(redis.StringMap(c.Do("HGETALL", "h"))), map[string]string{"x": "1", "y": "two"})
	equal(must(redis.Int(c.Do("RPUSH", "l", 1, 2, 3))), 3)
	equal(must(redis.Strings(c.Do("BLPOP", "nothing", "l", 1))), []string{"l", "1"})
	must(c.Do("ZADD", "z", 1, "one", 2.5, "two"))
	equal(must(redis.Float64(c.Do("ZSCORE", "z", "two"))), 2.5)
	found := must(redis.Values(c.Do("SCAN", 0, "COUNT", 100)))
	equal(len(must(redis.Strings(found[1], nil))), 6)
	_, err = c.Do("INCR", "l")
	refused("wrong kind of value", err)
	_, err = c.Do("NOSUCH", "x")
	refused("unknown command", err)
}

func pipelines(c redis.Conn) {
	for number := range 1000 {
		if err := errors.Join(c.Send("SET", number, number), c.Send("GET", number)); err != nil {
			fail("%v", err)
		}
	}
	if err := c.Flush(); err != nil {
		fail("%v", err)
	}
	for number := range 1000 {
		must(c.Receive())
		equal(must(redis.Int(c.Receive())), number)
	}
}

func transactions(pool *redis.Pool, c redis.Conn) {
	must(c.Do("SET", "n", 1))
	other := pool.Get()
	defer other.Close()
	for _, meanwhile := range []bool{true, false} {
		must(c.Do("WATCH", "n"))
		if meanwhile {
			must(other.Do("SET", "n", 5))
		}
		if err := errors.Join(c.Send("MULTI"), c.Send("INCR", "n")); err != nil {
			fail("%v", err)
		}
		values, err := redis.Ints(c.Do("EXEC"))
		if meanwhile {
			equal(err, redis.ErrNil)
		} else {
			equal(must(values, err), []int{6})
		}
	}
}

func subscriptions(pool *redis.Pool, c redis.Conn) {
	subscriber := redis.PubSubConn{Conn: pool.Get()}
	defer subscriber.Close()
	if err := subscriber.Subscribe("news"); err != nil {
		fail("%v", err)
	}
	equal(subscriber.Receive(), redis.Subscription{Kind: "subscribe", Channel: "news", Count: 1})
	equal(must(redis.Int(c.Do("PUBLISH", "news", "hello"))), 1)
	equal(subscriber.Receive(), redis.Message{Channel: "news", Data: []byte("hello")})
}

func functions(c redis.Conn) {
	digest := must(redis.String(c.Do("WASM.DEFINE", "add1", add1, "REPLACE")))
	equal(strings.HasPrefix(digest, "blake3:"), true)
	equal(must(redis.Int(c.Do("FCALL", "add1", 0, 41))), 42)
	equal(must(redis.Int(c.Do("WASM.CALL", "add1", "ARGS", 1))), 2)
	_, err := c.Do("FCALL", "nosuch", 0)
	refused("no function", err)
}

func main() {
	pool := &redis.Pool{
		Dial:      func() (redis.Conn, error) { return redis.Dial("tcp", "127.0.0.1:"+os.Args[1]) },
		MaxActive: 4,
		Wait:      true,
	}
	defer pool.Close()
	c := pool.Get()
	defer c.Close()
	usualCalls(c)
	pipelines(c)
	transactions(pool, c)
	subscriptions(pool, c)
	functions(c)
	fmt.Println("ok")
}
