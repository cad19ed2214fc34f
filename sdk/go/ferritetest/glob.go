//go:build !wasip1

package ferritetest

// matches reports whether text as a whole matches one of Redis's glob patterns: `*`, `?`, `[a-z]`,
// `[^a]`, and `\` before a literal byte.
func matches(pattern, text string) bool {
	if text == "" {
		// Redis matches no star against the empty text, except where `*` is the whole pattern.
		return pattern == "" || pattern == "*"
	}
	at, position := 0, 0
	// After the last star, and the position from which it was tried. A mismatch tries it again one
	// byte later.
	afterStar, from := -1, 0
	for position < len(text) {
		if at < len(pattern) && pattern[at] == '*' {
			at++
			afterStar, from = at, position
			continue
		}
		if next, ok := matchOne(pattern, at, text[position]); ok {
			at = next
			position++
		} else if afterStar >= 0 {
			from++
			at, position = afterStar, from
		} else {
			return false
		}
	}
	for at < len(pattern) && pattern[at] == '*' {
		at++
	}
	return at == len(pattern)
}

// matchOne matches one byte against the element of the pattern at `at`, and returns the position
// after that element.
func matchOne(pattern string, at int, char byte) (next int, ok bool) {
	if at == len(pattern) {
		return at, false
	}
	switch pattern[at] {
	case '?':
		return at + 1, true
	case '[':
		return matchClass(pattern, at+1, char)
	case '\\':
		if at+1 < len(pattern) {
			at++
		}
	}
	return at + 1, pattern[at] == char
}

func matchClass(pattern string, at int, char byte) (next int, ok bool) {
	negated := at < len(pattern) && pattern[at] == '^'
	if negated {
		at++
	}
	found := false
	for at < len(pattern) && pattern[at] != ']' {
		low, high := pattern[at], pattern[at]
		switch {
		case low == '\\' && at+1 < len(pattern):
			low, high = pattern[at+1], pattern[at+1]
			at += 2
		case at+2 < len(pattern) && pattern[at+1] == '-':
			high = pattern[at+2]
			if low > high {
				low, high = high, low
			}
			at += 3
		default:
			at++
		}
		if low <= char && char <= high {
			found = true
		}
	}
	return min(at+1, len(pattern)), found != negated
}
