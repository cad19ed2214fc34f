//go:build !wasip1

package ferritetest

import (
	"maps"
	"slices"
)

var setCommands = map[string]command{
	"SADD": {2, -1, editSet(func(s set, args []string) any {
		before := len(s)
		for _, member := range args {
			s[member] = struct{}{}
		}
		return int64(len(s) - before)
	})},
	"SREM": {2, -1, editSet(func(s set, args []string) any {
		before := len(s)
		for _, member := range args {
			delete(s, member)
		}
		return int64(before - len(s))
	})},
	"SCARD":     {1, 1, viewSet(func(s set, _ []string) any { return int64(len(s)) })},
	"SISMEMBER": {2, 2, viewSet(func(s set, args []string) any { return flag(s.has(args[0])) })},
	"SMISMEMBER": {2, -1, viewSet(func(s set, args []string) any {
		flags := make([]any, len(args))
		for i, member := range args {
			flags[i] = flag(s.has(member))
		}
		return flags
	})},
	"SMEMBERS":    {1, 1, viewSet(func(s set, _ []string) any { return s.members() })},
	"SINTER":      {1, -1, func(k *keyspace, args []string) any { return combine(k, args, inter).members() }},
	"SUNION":      {1, -1, func(k *keyspace, args []string) any { return combine(k, args, union).members() }},
	"SDIFF":       {1, -1, func(k *keyspace, args []string) any { return combine(k, args, diff).members() }},
	"SINTERSTORE": {2, -1, func(k *keyspace, args []string) any { return storeSet(k, args, inter) }},
	"SUNIONSTORE": {2, -1, func(k *keyspace, args []string) any { return storeSet(k, args, union) }},
	"SDIFFSTORE":  {2, -1, func(k *keyspace, args []string) any { return storeSet(k, args, diff) }},
	"SMOVE": {3, 3, func(k *keyspace, args []string) any {
		from, _ := value[set](k, args[0])
		to, _ := value[set](k, args[1])
		if !from.has(args[2]) {
			return int64(0)
		}
		delete(from, args[2])
		k.put(args[0], from, len(from) == 0)
		if to == nil {
			to = set{}
		}
		to[args[2]] = struct{}{}
		k.put(args[1], to, false)
		return int64(1)
	}},
}

// combination is a way to combine sets.
type combination int

const (
	inter combination = iota
	union
	diff
)

func (s set) has(member string) bool {
	_, ok := s[member]
	return ok
}

func (s set) members() []any {
	return array(slices.Sorted(maps.Keys(s)))
}

func viewSet(view func(s set, args []string) any) func(k *keyspace, args []string) any {
	return func(k *keyspace, args []string) any {
		s, _ := value[set](k, args[0])
		return view(s, args[1:])
	}
}

func editSet(change func(s set, args []string) any) func(k *keyspace, args []string) any {
	return func(k *keyspace, args []string) any {
		return editMap(k, args[0], func(s set) any { return change(s, args[1:]) })
	}
}

func combine(k *keyspace, keys []string, how combination) set {
	result := set{}
	for i, key := range keys {
		s, _ := value[set](k, key)
		switch {
		case i == 0 || how == union:
			maps.Copy(result, s)
		default:
			maps.DeleteFunc(result, func(member string, _ struct{}) bool { return s.has(member) == (how == diff) })
		}
	}
	return result
}

func storeSet(k *keyspace, args []string, how combination) any {
	result := combine(k, args[1:], how)
	delete(k.items, args[0])
	k.put(args[0], result, len(result) == 0)
	return int64(len(result))
}
