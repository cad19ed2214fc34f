package ferrite

import (
	"math"
	"strconv"
	"strings"
)

// parseInt reads digits after an optional minus sign, within 64 bits.
func parseInt(text []byte) (int64, bool) {
	if len(text) > 0 && text[0] == '+' {
		return 0, false
	}
	number, err := strconv.ParseInt(string(text), 10, 64)
	return number, err == nil
}

// ParseNumber reads a number as parameters of type float64 are read: decimal digits with an optional
// sign, point and exponent, or an infinity. Numbers that are too large or too small are refused.
func ParseNumber(text string) (number float64, ok bool) {
	digits := strings.TrimLeft(text, "+-")
	if len(text)-len(digits) > 1 {
		return 0, false
	}
	if !strings.EqualFold(digits, "inf") && !strings.EqualFold(digits, "infinity") && !isDecimal(digits) {
		return 0, false
	}
	number, err := strconv.ParseFloat(text, 64)
	mantissa, _, _ := strings.Cut(strings.ToLower(digits), "e")
	vanished := number == 0 && strings.ContainsAny(mantissa, "123456789")
	return number, err == nil && !vanished && !math.IsNaN(number)
}

// isDecimal returns true for digits with at most one point, and an optional exponent.
func isDecimal(text string) bool {
	whole, rest := cutDigits(text)
	fraction := 0
	if strings.HasPrefix(rest, ".") {
		fraction, rest = cutDigits(rest[1:])
	}
	if whole+fraction == 0 {
		return false
	}
	if rest == "" {
		return true
	}
	if rest[0] != 'e' && rest[0] != 'E' {
		return false
	}
	rest = rest[1:]
	if rest != "" && (rest[0] == '+' || rest[0] == '-') {
		rest = rest[1:]
	}
	exponent, rest := cutDigits(rest)
	return exponent > 0 && rest == ""
}

// cutDigits returns the number of digits that a text starts with, and the text after them.
func cutDigits(text string) (n int, rest string) {
	rest = strings.TrimLeft(text, "0123456789")
	return len(text) - len(rest), rest
}
