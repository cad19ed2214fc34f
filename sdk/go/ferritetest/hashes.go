//go:build !wasip1

package ferritetest

import (
	"maps"
	"slices"
	"strconv"
)

var hashCommands = map[string]command{
	"HGET": {2, 2, viewHash(func(h hash, args []string) any { return field(h, args[0]) })},
	"HMGET": {2, -1, viewHash(func(h hash, args []string) any {
		values := make([]any, len(args))
		for i, name := range args {
			values[i] = field(h, name)
		}
		return values
	})},
	"HEXISTS": {2, 2, viewHash(func(h hash, args []string) any { return flag(field(h, args[0]) != nil) })},
	"HLEN":    {1, 1, viewHash(func(h hash, _ []string) any { return int64(len(h)) })},
	"HSTRLEN": {2, 2, viewHash(func(h hash, args []string) any { return int64(len(h[args[0]])) })},
	"HGETALL": {1, 1, viewHash(func(h hash, _ []string) any {
		pairs := []any{}
		for _, name := range slices.Sorted(maps.Keys(h)) {
			pairs = append(pairs, name, h[name])
		}
		return pairs
	})},
	"HKEYS": {1, 1, viewHash(func(h hash, _ []string) any { return array(slices.Sorted(maps.Keys(h))) })},
	"HVALS": {1, 1, viewHash(func(h hash, _ []string) any {
		values := []any{}
		for _, name := range slices.Sorted(maps.Keys(h)) {
			values = append(values, h[name])
		}
		return values
	})},
	"HSET": {3, -1, editHash(func(h hash, args []string) any {
		if len(args)%2 != 0 {
			panic(wrongCount("HSET"))
		}
		before := len(h)
		for i := 0; i < len(args); i += 2 {
			h[args[i]] = args[i+1]
		}
		return int64(len(h) - before)
	})},
	"HSETNX": {3, 3, editHash(func(h hash, args []string) any {
		_, exists := h[args[0]]
		if !exists {
			h[args[0]] = args[1]
		}
		return flag(!exists)
	})},
	"HDEL": {2, -1, editHash(func(h hash, args []string) any {
		return count(args, func(name string) bool {
			_, ok := h[name]
			delete(h, name)
			return ok
		})
	})},
	"HINCRBY": {3, 3, editHash(func(h hash, args []string) any {
		delta := integer(args[1])
		old, exists := h[args[0]]
		total := sum(old, exists, delta, "ERR hash value is not an integer")
		h[args[0]] = strconv.FormatInt(total, 10)
		return total
	})},
	"HINCRBYFLOAT": {3, 3, editHash(func(h hash, args []string) any {
		total := float(args[1])
		if old, exists := h[args[0]]; exists {
			total += floatOr(old, "ERR hash value is not a float")
		}
		h[args[0]] = floatText(total)
		return floatText(total)
	})},
}

func viewHash(view func(h hash, args []string) any) func(k *keyspace, args []string) any {
	return func(k *keyspace, args []string) any {
		h, _ := value[hash](k, args[0])
		return view(h, args[1:])
	}
}

func editHash(change func(h hash, args []string) any) func(k *keyspace, args []string) any {
	return func(k *keyspace, args []string) any {
		return editMap(k, args[0], func(h hash) any { return change(h, args[1:]) })
	}
}

func field(h hash, name string) any {
	if text, ok := h[name]; ok {
		return text
	}
	return nil
}
