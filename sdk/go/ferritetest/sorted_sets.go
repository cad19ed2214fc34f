//go:build !wasip1

package ferritetest

import (
	"cmp"
	"slices"
	"strings"
)

var sortedSetCommands = map[string]command{
	"ZADD": {3, -1, add},
	"ZREM": {2, -1, editSorted(func(s sortedSet, args []string) any {
		before := len(s)
		for _, member := range args {
			delete(s, member)
		}
		return int64(before - len(s))
	})},
	"ZCARD":  {1, 1, viewSorted(func(s sortedSet, _ []string) any { return int64(len(s)) })},
	"ZSCORE": {2, 2, viewSorted(func(s sortedSet, args []string) any { return s.score(args[0]) })},
	"ZMSCORE": {2, -1, viewSorted(func(s sortedSet, args []string) any {
		scores := make([]any, len(args))
		for i, member := range args {
			scores[i] = s.score(member)
		}
		return scores
	})},
	"ZINCRBY": {3, 3, func(k *keyspace, args []string) any {
		return add(k, []string{args[0], "INCR", args[1], args[2]})
	}},
	"ZRANK":            {2, 2, viewSorted(func(s sortedSet, args []string) any { return s.rank(args[0], false) })},
	"ZREVRANK":         {2, 2, viewSorted(func(s sortedSet, args []string) any { return s.rank(args[0], true) })},
	"ZRANGE":           {3, -1, viewSorted(func(s sortedSet, args []string) any { return s.query(args, false, false) })},
	"ZREVRANGE":        {3, -1, viewSorted(func(s sortedSet, args []string) any { return s.query(args, false, true) })},
	"ZRANGEBYSCORE":    {3, -1, viewSorted(func(s sortedSet, args []string) any { return s.query(args, true, false) })},
	"ZREVRANGEBYSCORE": {3, -1, viewSorted(func(s sortedSet, args []string) any { return s.query(args, true, true) })},
	"ZCOUNT": {3, 3, viewSorted(func(s sortedSet, args []string) any {
		return int64(len(s.between(args[0], args[1])))
	})},
	"ZREMRANGEBYSCORE": {3, 3, editSorted(func(s sortedSet, args []string) any {
		return s.remove(s.between(args[0], args[1]))
	})},
	"ZREMRANGEBYRANK": {3, 3, editSorted(func(s sortedSet, args []string) any {
		from, to := span(args[0], args[1], len(s))
		return s.remove(s.ranked()[from:to])
	})},
	"ZPOPMIN": {1, 2, editSorted(func(s sortedSet, args []string) any { return s.pop(args, false) })},
	"ZPOPMAX": {1, 2, editSorted(func(s sortedSet, args []string) any { return s.pop(args, true) })},
}

// scored is a member of a sorted set.
type scored struct {
	member string
	score  float64
}

func viewSorted(view func(s sortedSet, args []string) any) func(k *keyspace, args []string) any {
	return func(k *keyspace, args []string) any {
		s, _ := value[sortedSet](k, args[0])
		return view(s, args[1:])
	}
}

func editSorted(change func(s sortedSet, args []string) any) func(k *keyspace, args []string) any {
	return func(k *keyspace, args []string) any {
		return editMap(k, args[0], func(s sortedSet) any { return change(s, args[1:]) })
	}
}

// ranked returns the members in the order of the set.
func (s sortedSet) ranked() []scored {
	all := make([]scored, 0, len(s))
	for member, score := range s {
		all = append(all, scored{member, score})
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), strings.Compare(a.member, b.member))
	})
	return all
}

func (s sortedSet) score(member string) any {
	if score, ok := s[member]; ok {
		return floatText(score)
	}
	return nil
}

func (s sortedSet) rank(member string, reverse bool) any {
	all := s.ranked()
	if reverse {
		slices.Reverse(all)
	}
	at := slices.IndexFunc(all, func(one scored) bool { return one.member == member })
	if at < 0 {
		return nil
	}
	return int64(at)
}

func (s sortedSet) remove(found []scored) any {
	for _, one := range found {
		delete(s, one.member)
	}
	return int64(len(found))
}

func (s sortedSet) pop(args []string, max bool) any {
	wanted := 1
	if len(args) > 0 {
		wanted = size(args[0])
	}
	all := s.ranked()
	if max {
		slices.Reverse(all)
	}
	all = all[:min(wanted, len(all))]
	s.remove(all)
	return replied(all, true)
}

func replied(found []scored, withScores bool) []any {
	reply := []any{}
	for _, one := range found {
		reply = append(reply, one.member)
		if withScores {
			reply = append(reply, floatText(one.score))
		}
	}
	return reply
}

func add(k *keyspace, args []string) any {
	key, args := args[0], args[1:]
	given := map[string]bool{}
	for len(args) > 0 && slices.Contains([]string{"NX", "XX", "GT", "LT", "CH", "INCR"}, strings.ToUpper(args[0])) {
		given[strings.ToUpper(args[0])] = true
		args = args[1:]
	}
	switch {
	case len(args) == 0 || len(args)%2 != 0:
		return syntaxError
	case given["NX"] && given["XX"]:
		return Error("ERR XX and NX options at the same time are not compatible")
	case given["GT"] && given["LT"], given["NX"] && (given["GT"] || given["LT"]):
		return Error("ERR GT, LT, and/or NX options at the same time are not compatible")
	case given["INCR"] && len(args) > 2:
		return Error("ERR INCR option supports a single increment-element pair")
	}
	var pairs []scored
	for i := 0; i < len(args); i += 2 {
		pairs = append(pairs, scored{args[i+1], float(args[i])})
	}
	return editMap(k, key, func(s sortedSet) any {
		added, changed := int64(0), int64(0)
		var incremented any
		for _, one := range pairs {
			old, exists := s[one.member]
			score := one.score
			if given["INCR"] {
				score += old
			}
			refused := exists && given["NX"] || !exists && given["XX"] ||
				exists && (given["GT"] && score <= old || given["LT"] && score >= old)
			if refused {
				continue
			}
			if !exists {
				added++
			} else if score != old {
				changed++
			}
			s[one.member] = score
			incremented = floatText(score)
		}
		switch {
		case given["INCR"]:
			return incremented
		case given["CH"]:
			return added + changed
		}
		return added
	})
}

// bound reads an end of a range of scores; open is true if it is not part of the range.
func bound(text string) (at float64, open bool) {
	text, open = strings.CutPrefix(text, "(")
	return floatOr(text, "ERR min or max is not a float"), open
}

func (s sortedSet) between(min, max string) []scored {
	low, lowOpen := bound(min)
	high, highOpen := bound(max)
	return slices.DeleteFunc(s.ranked(), func(one scored) bool {
		return one.score < low || lowOpen && one.score == low || one.score > high || highOpen && one.score == high
	})
}

func (s sortedSet) query(args []string, byScore, reverse bool) any {
	start, stop := args[0], args[1]
	withScores, limited := false, false
	var offset, most int64
	for options := args[2:]; len(options) > 0; options = options[1:] {
		switch option := strings.ToUpper(options[0]); {
		case option == "WITHSCORES":
			withScores = true
		case option == "BYSCORE":
			byScore = true
		case option == "REV":
			reverse = true
		case option == "LIMIT" && len(options) >= 3:
			limited, offset, most = true, integer(options[1]), integer(options[2])
			options = options[2:]
		default:
			return syntaxError
		}
	}
	if limited && !byScore {
		return Error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
	}
	var found []scored
	switch {
	case byScore && reverse:
		found = s.between(stop, start)
	case byScore:
		found = s.between(start, stop)
	default:
		found = s.ranked()
	}
	if reverse {
		slices.Reverse(found)
	}
	if !byScore {
		from, to := span(start, stop, len(found))
		found = found[from:to]
	}
	if limited {
		n := int64(len(found))
		if offset < 0 {
			offset = n
		}
		found = found[min(offset, n):]
		// A negative count is no limit.
		if most >= 0 {
			found = found[:min(most, int64(len(found)))]
		}
	}
	return replied(found, withScores)
}
