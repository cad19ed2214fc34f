//go:build !wasip1

// Package ferritetest is a store in memory, for tests of functions without a server.
//
//	func TestGreet(t *testing.T) {
//		store := ferritetest.New(t)
//		store.Do("HSET", "user:1", "name", "Ann")
//		if reply := store.Call(greetEntry, []string{"user:1"}, nil); reply != "hello, Ann" {
//			t.Error(reply)
//		}
//	}
//
// A reply is nil, a bool, an int64, a float64, a string, a []any, or a Map, Status or Error. The
// store has the usual commands on strings, hashes, lists, sets and sorted sets, a clock that stands
// still until Advance
// moves it, and random bytes that are the same in every run. It has no permissions and no limits.
package ferritetest

import (
	"testing"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/internal/abi"
)

// Status is a status reply, such as OK.
type Status string

// Error is an error reply.
type Error string

// Map is a map reply: alternating keys and values, in order.
type Map []any

// LogLine is a line that a function has logged; 0 is the finest level, 4 an error.
type LogLine struct {
	Level int32
	Text  string
}

// Store is a store in memory that the functions of this process use until the test ends.
type Store struct {
	// Log holds the lines that functions have logged, oldest first.
	Log []LogLine
	// Requests holds the requests to other servers that functions have made, oldest first.
	Requests []Request
	// AfterCommit holds the requests that functions have added to their calls, oldest first.
	AfterCommit []Request
	// Config is the configuration of the functions.
	Config map[string]string

	prepared []prepared
	data    keyspace
	keys    []string
	args    []string
	replies []any
	long    []byte
	random  byte
}

// Request is a request to another server.
type Request struct {
	Method, URL, Body string
}

// prepared is the response of a request.
type prepared struct {
	method, url string
	status      int
	body        string
}

// Respond answers every request with this method and URL from now on. Requests without an answer fail.
func (s *Store) Respond(method, url string, status int, body string) {
	s.prepared = append(s.prepared, prepared{method, url, status, body})
}

// open is a container that waits for its elements.
type open struct {
	isMap bool
	n     int
}

// New makes an empty store whose clock shows 1,700,000,000,000 milliseconds. Tests that use one
// cannot run in parallel.
func New(t testing.TB) *Store {
	t.Helper()
	store := &Store{data: keyspace{now: 1_700_000_000_000, items: map[string]item{}}}
	before := abi.Current
	abi.Current = host{store}
	t.Cleanup(func() { abi.Current = before })
	return store
}

// Call calls a function by its exported entry, with keys and arguments; returns its reply.
func (s *Store) Call(entry func(), keys, args []string) any {
	s.keys, s.args, s.replies = keys, args, nil
	entry()
	reply := s.next()
	if len(s.replies) > 0 {
		panic("ferritetest: the function gave more than one reply")
	}
	return reply
}

// Do runs a command, to prepare or inspect data.
func (s *Store) Do(argv ...string) any {
	return s.data.run(argv)
}

// Advance moves the clock; keys that expire by then are gone.
func (s *Store) Advance(millis int64) {
	s.data.now += millis
}

func (s *Store) next() any {
	if len(s.replies) == 0 {
		panic("ferritetest: the function gave too few replies")
	}
	reply := s.replies[0]
	s.replies = s.replies[1:]
	container, ok := reply.(open)
	if !ok {
		return reply
	}
	items := make([]any, 0, container.n)
	for range container.n {
		items = append(items, s.next())
	}
	if container.isMap {
		return Map(items)
	}
	return items
}
