//go:build !wasip1

package ferritetest

import (
	"strconv"
	"strings"
)

var stringCommands = map[string]command{
	"GET":    {1, 1, func(k *keyspace, args []string) any { return k.get(args[0]) }},
	"SET":    {2, -1, func(k *keyspace, args []string) any { return k.set(args[0], args[1], args[2:]) }},
	"SETNX":  {2, 2, func(k *keyspace, args []string) any { return flag(k.set(args[0], args[1], []string{"NX"}) != nil) }},
	"SETEX":  {3, 3, func(k *keyspace, args []string) any { return k.setFor("setex", args, 1000) }},
	"PSETEX": {3, 3, func(k *keyspace, args []string) any { return k.setFor("psetex", args, 1) }},
	"GETSET": {2, 2, func(k *keyspace, args []string) any { return k.set(args[0], args[1], []string{"GET"}) }},
	"GETDEL": {1, 1, func(k *keyspace, args []string) any {
		reply := k.get(args[0])
		delete(k.items, args[0])
		return reply
	}},
	"MGET": {1, -1, func(k *keyspace, args []string) any {
		values := make([]any, len(args))
		for i, key := range args {
			found, _ := k.item(key)
			if text, ok := found.value.(string); ok {
				values[i] = text
			}
		}
		return values
	}},
	"MSET": {2, -1, func(k *keyspace, args []string) any {
		if len(args)%2 != 0 {
			return wrongCount("MSET")
		}
		for i := 0; i < len(args); i += 2 {
			k.items[args[i]] = item{args[i+1], never}
		}
		return Status("OK")
	}},
	"INCR":   {1, 1, func(k *keyspace, args []string) any { return k.increment(args[0], 1) }},
	"DECR":   {1, 1, func(k *keyspace, args []string) any { return k.increment(args[0], -1) }},
	"INCRBY": {2, 2, func(k *keyspace, args []string) any { return k.increment(args[0], integer(args[1])) }},
	"DECRBY": {2, 2, func(k *keyspace, args []string) any {
		delta := integer(args[1])
		if delta == -delta && delta != 0 {
			return Error("ERR decrement would overflow")
		}
		return k.increment(args[0], -delta)
	}},
	"INCRBYFLOAT": {2, 2, func(k *keyspace, args []string) any {
		total := float(args[1])
		if text, ok := value[string](k, args[0]); ok {
			total += float(text)
		}
		k.put(args[0], floatText(total), false)
		return floatText(total)
	}},
	"APPEND": {2, 2, func(k *keyspace, args []string) any {
		text, _ := value[string](k, args[0])
		k.put(args[0], text+args[1], false)
		return int64(len(text + args[1]))
	}},
	"STRLEN": {1, 1, func(k *keyspace, args []string) any {
		text, _ := value[string](k, args[0])
		return int64(len(text))
	}},
	"GETRANGE": {3, 3, func(k *keyspace, args []string) any {
		text, _ := value[string](k, args[0])
		from, to := span(args[1], args[2], len(text))
		return text[from:to]
	}},
}

func (k *keyspace) get(key string) any {
	if text, ok := value[string](k, key); ok {
		return text
	}
	return nil
}

func (k *keyspace) increment(key string, delta int64) any {
	text, ok := value[string](k, key)
	total := sum(text, ok, delta, notAnInteger)
	k.put(key, strconv.FormatInt(total, 10), false)
	return total
}

// expiry returns when a key expires that is set for a time.
func (k *keyspace) expiry(text string, unit int64, command string) int64 {
	millis := integer(text) * unit
	if millis <= 0 {
		panic(Error("ERR invalid expire time in '" + command + "' command"))
	}
	return k.now + millis
}

func (k *keyspace) setFor(command string, args []string, unit int64) any {
	k.items[args[0]] = item{args[2], k.expiry(args[1], unit, command)}
	return Status("OK")
}

func (k *keyspace) set(key, text string, options []string) any {
	old, exists := k.item(key)
	given := map[string]bool{}
	expiresAt := never
	for ; len(options) > 0; options = options[1:] {
		option := strings.ToUpper(options[0])
		switch option {
		case "NX", "XX", "GET":
		case "KEEPTTL":
			if exists {
				expiresAt = old.expiresAt
			}
		case "PX", "EX":
			if len(options) < 2 {
				return syntaxError
			}
			unit := map[string]int64{"PX": 1, "EX": 1000}[option]
			expiresAt = k.expiry(options[1], unit, "set")
			options = options[1:]
		default:
			return syntaxError
		}
		given[option] = true
	}
	timed := 0
	for _, option := range []string{"KEEPTTL", "PX", "EX"} {
		if given[option] {
			timed++
		}
	}
	if given["NX"] && given["XX"] || timed > 1 {
		return syntaxError
	}
	var before any
	if given["GET"] {
		before = k.get(key)
	}
	refused := given["NX"] && exists || given["XX"] && !exists
	if !refused {
		k.items[key] = item{text, expiresAt}
	}
	switch {
	case given["GET"]:
		return before
	case refused:
		return nil
	}
	return Status("OK")
}
