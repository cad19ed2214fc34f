package ferrite

import (
	"strings"
	"unicode/utf8"
)

// utf8Bytes returns a text's bytes. What is not UTF-8 in it, such as half of a cut character, becomes
// U+FFFD: the store and callers get text, and bytes only from a []byte.
func utf8Bytes(text string) []byte {
	if utf8.ValidString(text) {
		return []byte(text)
	}
	return []byte(strings.ToValidUTF8(text, "\uFFFD"))
}

// asText returns bytes of the store as text, or an error if they are something else.
func asText(bytes []byte, what string, subject []byte) (string, error) {
	if !utf8.Valid(bytes) {
		return "", newError("ERR the value of ", what, " ", excerpt(subject), " must be UTF-8 text, not ", excerpt(bytes))
	}
	return string(bytes), nil
}
