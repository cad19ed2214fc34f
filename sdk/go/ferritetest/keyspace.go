//go:build !wasip1

package ferritetest

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	wrongType    = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
	notAnInteger = Error("ERR value is not an integer or out of range")
	syntaxError  = Error("ERR syntax error")
	never        = int64(math.MaxInt64)
)

// item is a value with its expiry: a hash if that is not nil, otherwise a string.
type item struct {
	text      string
	hash      map[string]string
	expiresAt int64
}

// keyspace holds values by key, and a clock.
type keyspace struct {
	now   int64
	items map[string]item
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
	command, ok := commands[name]
	if !ok {
		return Error("ERR the test store does not know '" + name + "'; test this with `ferrite-wasmc run`")
	}
	args := argv[1:]
	if len(args) < command.argsMin || command.argsMax >= 0 && len(args) > command.argsMax {
		return Error("ERR wrong number of arguments for '" + strings.ToLower(name) + "' command")
	}
	return command.run(k, args)
}

func (k *keyspace) item(key string) (item, bool) {
	found, ok := k.items[key]
	if ok && found.expiresAt <= k.now {
		delete(k.items, key)
		return item{}, false
	}
	return found, ok
}

func (k *keyspace) text(key string) (string, bool) {
	found, ok := k.item(key)
	if found.hash != nil {
		panic(wrongType)
	}
	return found.text, ok
}

func (k *keyspace) hash(key string) map[string]string {
	found, ok := k.item(key)
	if ok && found.hash == nil {
		panic(wrongType)
	}
	return found.hash
}

// edit changes a hash; it creates a missing one, and removes one that is empty afterwards.
func (k *keyspace) edit(key string, change func(hash map[string]string) any) any {
	hash := k.hash(key)
	if hash == nil {
		hash = map[string]string{}
		k.items[key] = item{hash: hash, expiresAt: never}
	}
	reply := change(hash)
	if len(hash) == 0 {
		delete(k.items, key)
	}
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

func (k *keyspace) keys(pattern string) []any {
	found := []any{}
	for _, key := range slices.Sorted(maps.Keys(k.items)) {
		if _, ok := k.item(key); ok && matches(pattern, key) {
			found = append(found, key)
		}
	}
	return found
}

func integer(text string) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != text {
		panic(notAnInteger)
	}
	return number
}

func sum(text string, delta int64) int64 {
	number := int64(0)
	if text != "" {
		number = integer(text)
	}
	total := number + delta
	if (total^number)&(total^delta) < 0 {
		panic(Error("ERR increment or decrement would overflow"))
	}
	return total
}

func flag(truth bool) any {
	if truth {
		return int64(1)
	}
	return int64(0)
}

// command is a command's function and its number of arguments; argsMax below 0 means no maximum.
type command struct {
	argsMin, argsMax int
	run              func(k *keyspace, args []string) any
}

var commands = map[string]command{
	"GET": {1, 1, func(k *keyspace, args []string) any {
		if text, ok := k.text(args[0]); ok {
			return text
		}
		return nil
	}},
	"SET": {2, -1, set},
	"DEL": {1, -1, func(k *keyspace, args []string) any {
		return each(args, func(key string) bool {
			_, ok := k.item(key)
			delete(k.items, key)
			return ok
		})
	}},
	"EXISTS": {1, -1, func(k *keyspace, args []string) any {
		return each(args, func(key string) bool {
			_, ok := k.item(key)
			return ok
		})
	}},
	"INCR":   {1, 1, func(k *keyspace, args []string) any { return k.increment(args[0], 1) }},
	"INCRBY": {2, 2, func(k *keyspace, args []string) any { return k.increment(args[0], integer(args[1])) }},
	"EXPIRE": {2, 2, func(k *keyspace, args []string) any { return k.expire(args[0], integer(args[1])*1000) }},
	"PEXPIRE": {2, 2, func(k *keyspace, args []string) any {
		return k.expire(args[0], integer(args[1]))
	}},
	"TTL": {1, 1, func(k *keyspace, args []string) any {
		millis := k.ttl(args[0])
		if millis < 0 {
			return millis
		}
		return (millis + 500) / 1000
	}},
	"PTTL": {1, 1, func(k *keyspace, args []string) any { return k.ttl(args[0]) }},
	"KEYS": {1, 1, func(k *keyspace, args []string) any { return k.keys(args[0]) }},
	// All keys come in one page.
	"SCAN": {1, -1, func(k *keyspace, args []string) any {
		pattern := "*"
		for i := 1; i+1 < len(args); i += 2 {
			if strings.EqualFold(args[i], "MATCH") {
				pattern = args[i+1]
			}
		}
		return []any{"0", k.keys(pattern)}
	}},
	"HGET": {2, 2, func(k *keyspace, args []string) any {
		if value, ok := k.hash(args[0])[args[1]]; ok {
			return value
		}
		return nil
	}},
	"HSET": {3, -1, func(k *keyspace, args []string) any {
		return k.edit(args[0], func(hash map[string]string) any {
			before := len(hash)
			for i := 1; i+1 < len(args); i += 2 {
				hash[args[i]] = args[i+1]
			}
			return int64(len(hash) - before)
		})
	}},
	"HDEL": {2, -1, func(k *keyspace, args []string) any {
		return k.edit(args[0], func(hash map[string]string) any {
			return each(args[1:], func(field string) bool {
				_, ok := hash[field]
				delete(hash, field)
				return ok
			})
		})
	}},
	"HEXISTS": {2, 2, func(k *keyspace, args []string) any {
		_, ok := k.hash(args[0])[args[1]]
		return flag(ok)
	}},
	"HLEN": {1, 1, func(k *keyspace, args []string) any { return int64(len(k.hash(args[0]))) }},
	"HGETALL": {1, 1, func(k *keyspace, args []string) any {
		pairs := []any{}
		hash := k.hash(args[0])
		for _, field := range slices.Sorted(maps.Keys(hash)) {
			pairs = append(pairs, field, hash[field])
		}
		return pairs
	}},
	"HINCRBY": {3, 3, func(k *keyspace, args []string) any {
		delta := integer(args[2])
		return k.edit(args[0], func(hash map[string]string) any {
			total := sum(hash[args[1]], delta)
			hash[args[1]] = strconv.FormatInt(total, 10)
			return total
		})
	}},
}

func each(keys []string, holds func(key string) bool) any {
	count := int64(0)
	for _, key := range keys {
		if holds(key) {
			count++
		}
	}
	return count
}

func (k *keyspace) increment(key string, delta int64) any {
	text, ok := k.text(key)
	total := sum(text, delta)
	found := item{expiresAt: never}
	if ok {
		found = k.items[key]
	}
	found.text = strconv.FormatInt(total, 10)
	k.items[key] = found
	return total
}

func set(k *keyspace, args []string) any {
	old, exists := k.item(args[0])
	expiresAt := never
	for options := args[2:]; len(options) > 0; options = options[1:] {
		switch option := strings.ToUpper(options[0]); option {
		case "NX", "XX":
			if exists == (option == "NX") {
				return nil
			}
		case "KEEPTTL":
			if exists {
				expiresAt = old.expiresAt
			}
		case "PX", "EX":
			if len(options) < 2 {
				return syntaxError
			}
			millis := integer(options[1])
			if option == "EX" {
				millis *= 1000
			}
			if millis <= 0 {
				return Error("ERR invalid expire time in 'set' command")
			}
			expiresAt = k.now + millis
			options = options[1:]
		default:
			return syntaxError
		}
	}
	k.items[args[0]] = item{text: args[1], expiresAt: expiresAt}
	return Status("OK")
}
