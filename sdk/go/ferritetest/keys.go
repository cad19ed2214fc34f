//go:build !wasip1

package ferritetest

import (
	"strconv"
	"strings"
)

var keyCommands = map[string]command{
	"DEL":    {1, -1, remove},
	"UNLINK": {1, -1, remove},
	"EXISTS": {1, -1, func(k *keyspace, args []string) any {
		return count(args, func(key string) bool {
			_, ok := k.item(key)
			return ok
		})
	}},
	"EXPIRE":  {2, 2, func(k *keyspace, args []string) any { return k.expire(args[0], integer(args[1])*1000) }},
	"PEXPIRE": {2, 2, func(k *keyspace, args []string) any { return k.expire(args[0], integer(args[1])) }},
	"TTL": {1, 1, func(k *keyspace, args []string) any {
		millis := k.ttl(args[0])
		if millis < 0 {
			return millis
		}
		return (millis + 500) / 1000
	}},
	"PTTL": {1, 1, func(k *keyspace, args []string) any { return k.ttl(args[0]) }},
	"PERSIST": {1, 1, func(k *keyspace, args []string) any {
		found, ok := k.item(args[0])
		if !ok || found.expiresAt == never {
			return int64(0)
		}
		k.items[args[0]] = item{found.value, never}
		return int64(1)
	}},
	"TYPE": {1, 1, func(k *keyspace, args []string) any {
		found, _ := k.item(args[0])
		switch found.value.(type) {
		case string:
			return Status("string")
		case hash:
			return Status("hash")
		case list:
			return Status("list")
		case set:
			return Status("set")
		case sortedSet:
			return Status("zset")
		}
		return Status("none")
	}},
	"RENAME": {2, 2, func(k *keyspace, args []string) any {
		found, ok := k.item(args[0])
		if !ok {
			return Error("ERR no such key")
		}
		delete(k.items, args[0])
		k.items[args[1]] = found
		return Status("OK")
	}},
	"KEYS":   {1, 1, func(k *keyspace, args []string) any { return array(k.keys(args[0])) }},
	"SCAN":   {1, -1, scan},
	"DBSIZE": {0, 0, func(k *keyspace, _ []string) any { return int64(len(k.keys("*"))) }},
	"FLUSHDB": {0, 0, func(k *keyspace, _ []string) any {
		clear(k.items)
		return Status("OK")
	}},
	"TIME": {0, 0, func(k *keyspace, _ []string) any {
		return []any{strconv.FormatInt(k.now/1000, 10), strconv.FormatInt(k.now%1000*1000, 10)}
	}},
}

func remove(k *keyspace, args []string) any {
	return count(args, func(key string) bool {
		_, ok := k.item(key)
		delete(k.items, key)
		return ok
	})
}

// scan pages through the keys in order; the cursor is the number of keys already looked at.
func scan(k *keyspace, args []string) any {
	start := integerOr(args[0], "ERR invalid cursor")
	pattern, page := "*", int64(10)
	for options := args[1:]; len(options) > 0; options = options[2:] {
		if len(options) < 2 {
			return syntaxError
		}
		switch strings.ToUpper(options[0]) {
		case "MATCH":
			pattern = options[1]
		case "COUNT":
			page = max(integer(options[1]), 1)
		default:
			return syntaxError
		}
	}
	all := k.keys("*")
	from := int(min(max(start, 0), int64(len(all))))
	to := int(min(int64(from)+page, int64(len(all))))
	next := to
	if to == len(all) {
		next = 0
	}
	found := []any{}
	for _, key := range all[from:to] {
		if matches(pattern, key) {
			found = append(found, key)
		}
	}
	return []any{strconv.Itoa(next), found}
}
