//go:build !wasip1

package ferritetest

import (
	"maps"
	"math"
	"slices"
	"strings"
)

const never = int64(math.MaxInt64)

// Values of the five types. A string is a string.
type (
	hash      = map[string]string
	list      []string
	set       map[string]struct{}
	sortedSet map[string]float64
)

// item is a value of one of the five types with its expiry.
type item struct {
	value     any
	expiresAt int64
}

// keyspace holds values by key, and a clock.
type keyspace struct {
	now   int64
	items map[string]item
}

// command is a command's function and its number of arguments; argsMax below 0 means no maximum.
type command struct {
	argsMin, argsMax int
	run              func(k *keyspace, args []string) any
}

// families are the commands, one map for each type of value.
var families = []map[string]command{
	stringCommands, keyCommands, hashCommands, listCommands, setCommands, sortedSetCommands,
}

// run runs a command and returns its reply: nil, int64, string, []any, Status or Error.
func (k *keyspace) run(argv []string) (reply any) {
	// Commands panic with their errors, so that they can be written as expressions.
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case Error:
			reply = thrown
		default:
			panic(thrown)
		}
	}()
	name := strings.ToUpper(argv[0])
	for _, family := range families {
		command, ok := family[name]
		if !ok {
			continue
		}
		args := argv[1:]
		if len(args) < command.argsMin || command.argsMax >= 0 && len(args) > command.argsMax {
			return wrongCount(name)
		}
		return command.run(k, args)
	}
	return Error("ERR the test store does not know '" + name + "'; test this with `ferrite-wasmc run`")
}

func (k *keyspace) item(key string) (item, bool) {
	found, ok := k.items[key]
	if ok && found.expiresAt <= k.now {
		delete(k.items, key)
		return item{}, false
	}
	return found, ok
}

// value returns the value of a type at a key, or that type's zero value.
func value[T any](k *keyspace, key string) (found T, ok bool) {
	item, ok := k.item(key)
	if !ok {
		return found, false
	}
	found, ok = item.value.(T)
	if !ok {
		panic(wrongType)
	}
	return found, true
}

// put writes a value. It keeps the key's expiry, and removes the key if a collection is empty.
func (k *keyspace) put(key string, value any, isEmpty bool) {
	if isEmpty {
		delete(k.items, key)
		return
	}
	expiresAt := never
	if old, ok := k.item(key); ok {
		expiresAt = old.expiresAt
	}
	k.items[key] = item{value, expiresAt}
}

// editMap changes a hash, a set or a sorted set; it makes a missing one.
func editMap[M ~map[string]V, V any](k *keyspace, key string, change func(m M) any) any {
	changed, ok := value[M](k, key)
	if !ok {
		changed = M{}
	}
	reply := change(changed)
	k.put(key, changed, len(changed) == 0)
	return reply
}

func (k *keyspace) expire(key string, millis int64) any {
	found, ok := k.item(key)
	switch {
	case !ok:
		return int64(0)
	case millis <= 0:
		delete(k.items, key)
	default:
		found.expiresAt = k.now + millis
		k.items[key] = found
	}
	return int64(1)
}

func (k *keyspace) ttl(key string) int64 {
	found, ok := k.item(key)
	switch {
	case !ok:
		return -2
	case found.expiresAt == never:
		return -1
	}
	return found.expiresAt - k.now
}

// keys returns the keys that match a pattern, in order.
func (k *keyspace) keys(pattern string) []string {
	found := []string{}
	for _, key := range slices.Sorted(maps.Keys(k.items)) {
		if _, ok := k.item(key); ok && matches(pattern, key) {
			found = append(found, key)
		}
	}
	return found
}
