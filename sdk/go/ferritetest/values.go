//go:build !wasip1

package ferritetest

import (
	"math"
	"strconv"
	"strings"

	ferrite "github.com/ferrite-wasm/ferrite-wasm/sdk/go"
)

const (
	wrongType    = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
	notAnInteger = Error("ERR value is not an integer or out of range")
	notAFloat    = Error("ERR value is not a valid float")
	syntaxError  = Error("ERR syntax error")
)

// wrongCount is the error of a command that was given too few or too many arguments.
func wrongCount(name string) Error {
	return Error("ERR wrong number of arguments for '" + strings.ToLower(name) + "' command")
}

// integerOr reads an integer as the store does: no sign but a minus, and no zero in front.
func integerOr(text string, refused Error) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != text {
		panic(refused)
	}
	return number
}

func integer(text string) int64 {
	return integerOr(text, notAnInteger)
}

// size reads a count that is not negative.
func size(text string) int {
	const refused = Error("ERR value is out of range, must be positive")
	number := integerOr(text, refused)
	if number < 0 {
		panic(refused)
	}
	return int(min(number, math.MaxInt32))
}

func floatOr(text string, refused Error) float64 {
	number, ok := ferrite.ParseNumber(text)
	if !ok {
		panic(refused)
	}
	return number
}

func float(text string) float64 {
	return floatOr(text, notAFloat)
}

// floatText is a number in a reply: its shortest digits.
func floatText(number float64) string {
	switch {
	case math.IsInf(number, 0):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(number, 'g', -1, 64)), "+")
	case number == 0 || math.Abs(number) >= 1e-6 && math.Abs(number) < 1e21:
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(number, 'e', -1, 64), "e")
	sign := exponent[:1]
	return mantissa + "e" + sign + strings.TrimLeft(exponent[1:], "0")
}

// sum adds to an integer's text; a missing one counts as 0.
func sum(text string, exists bool, delta int64, refused Error) int64 {
	number := int64(0)
	if exists {
		number = integerOr(text, refused)
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

// count counts the items for which something holds.
func count(items []string, holds func(item string) bool) any {
	n := int64(0)
	for _, item := range items {
		if holds(item) {
			n++
		}
	}
	return n
}

// array is a list of texts as a reply.
func array[T ~string](items []T) []any {
	reply := make([]any, len(items))
	for i, item := range items {
		reply[i] = string(item)
	}
	return reply
}

// span returns the places from start to stop of n; negative numbers count from the end.
func span(start, stop string, n int) (from, to int) {
	place := func(text string) int64 {
		at := integer(text)
		if at < 0 {
			at += int64(n)
		}
		return at
	}
	first, last := place(start), place(stop)
	from = int(min(max(first, 0), int64(n)))
	return from, int(max(min(last, int64(n)-1)+1, int64(from)))
}
