//go:build !wasip1

package ferritetest

import (
	"slices"
	"strings"
)

var listCommands = map[string]command{
	"LPUSH":  {2, -1, func(k *keyspace, args []string) any { return push(k, args, true) }},
	"RPUSH":  {2, -1, func(k *keyspace, args []string) any { return push(k, args, false) }},
	"LPUSHX": {2, -1, func(k *keyspace, args []string) any { return pushIfThere(k, args, true) }},
	"RPUSHX": {2, -1, func(k *keyspace, args []string) any { return pushIfThere(k, args, false) }},
	"LPOP":   {1, 2, func(k *keyspace, args []string) any { return pop(k, args, true) }},
	"RPOP":   {1, 2, func(k *keyspace, args []string) any { return pop(k, args, false) }},
	"LLEN":   {1, 1, viewList(func(l list, _ []string) any { return int64(len(l)) })},
	"LRANGE": {3, 3, viewList(func(l list, args []string) any {
		from, to := span(args[0], args[1], len(l))
		return array(l[from:to])
	})},
	"LINDEX": {2, 2, viewList(func(l list, args []string) any {
		if at := place(l, args[0]); at >= 0 && at < len(l) {
			return l[at]
		}
		return nil
	})},
	"LPOS": {2, 2, viewList(func(l list, args []string) any {
		if at := slices.Index(l, args[0]); at >= 0 {
			return int64(at)
		}
		return nil
	})},
	"LSET": {3, 3, func(k *keyspace, args []string) any {
		l, ok := value[list](k, args[0])
		if !ok {
			return Error("ERR no such key")
		}
		at := place(l, args[1])
		if at < 0 || at >= len(l) {
			return Error("ERR index out of range")
		}
		l[at] = args[2]
		return Status("OK")
	}},
	"LINSERT": {4, 4, insert},
	"LREM":    {3, 3, removeItems},
	"LTRIM": {3, 3, func(k *keyspace, args []string) any {
		l, _ := value[list](k, args[0])
		from, to := span(args[1], args[2], len(l))
		k.put(args[0], slices.Clone(l[from:to]), from == to)
		return Status("OK")
	}},
	"LMOVE": {4, 4, func(k *keyspace, args []string) any {
		return moveItem(k, args[0], args[1], isLeft(args[2]), isLeft(args[3]))
	}},
	"RPOPLPUSH": {2, 2, func(k *keyspace, args []string) any { return moveItem(k, args[0], args[1], false, true) }},
}

func viewList(view func(l list, args []string) any) func(k *keyspace, args []string) any {
	return func(k *keyspace, args []string) any {
		l, _ := value[list](k, args[0])
		return view(l, args[1:])
	}
}

// place reads an index, which counts from the end if it is negative.
func place(l list, text string) int {
	at := integer(text)
	if at < 0 {
		at += int64(len(l))
	}
	return int(min(max(at, -1), int64(len(l))))
}

func push(k *keyspace, args []string, left bool) any {
	l, _ := value[list](k, args[0])
	for _, item := range args[1:] {
		if left {
			l = slices.Insert(l, 0, item)
		} else {
			l = append(l, item)
		}
	}
	k.put(args[0], l, false)
	return int64(len(l))
}

func pushIfThere(k *keyspace, args []string, left bool) any {
	if _, ok := value[list](k, args[0]); !ok {
		return int64(0)
	}
	return push(k, args, left)
}

func pop(k *keyspace, args []string, left bool) any {
	wanted := 1
	if len(args) > 1 {
		wanted = size(args[1])
	}
	l, ok := value[list](k, args[0])
	if !ok {
		return nil
	}
	popped := []any{}
	for len(popped) < wanted && len(l) > 0 {
		at := len(l) - 1
		if left {
			at = 0
		}
		popped = append(popped, l[at])
		l = slices.Delete(slices.Clone(l), at, at+1)
	}
	k.put(args[0], l, len(l) == 0)
	if len(args) > 1 {
		return popped
	}
	return popped[0]
}

func isLeft(text string) bool {
	word := strings.ToUpper(text)
	if word != "LEFT" && word != "RIGHT" {
		panic(syntaxError)
	}
	return word == "LEFT"
}

func moveItem(k *keyspace, from, to string, fromLeft, toLeft bool) any {
	_, _ = value[list](k, to)
	moved := pop(k, []string{from}, fromLeft)
	if text, ok := moved.(string); ok {
		push(k, []string{to, text}, toLeft)
	}
	return moved
}

func insert(k *keyspace, args []string) any {
	after, ok := map[string]int{"BEFORE": 0, "AFTER": 1}[strings.ToUpper(args[1])]
	if !ok {
		return syntaxError
	}
	l, exists := value[list](k, args[0])
	if !exists {
		return int64(0)
	}
	at := slices.Index(l, args[2])
	if at < 0 {
		return int64(-1)
	}
	l = slices.Insert(l, at+after, args[3])
	k.put(args[0], l, false)
	return int64(len(l))
}

func removeItems(k *keyspace, args []string) any {
	from := integer(args[1])
	l, _ := value[list](k, args[0])
	kept := slices.Clone(l)
	if from < 0 {
		slices.Reverse(kept)
	}
	left := max(from, -from)
	removed := int64(0)
	kept = slices.DeleteFunc(kept, func(item string) bool {
		goes := item == args[2] && (from == 0 || removed < left)
		if goes {
			removed++
		}
		return goes
	})
	if from < 0 {
		slices.Reverse(kept)
	}
	k.put(args[0], kept, len(kept) == 0)
	return removed
}
