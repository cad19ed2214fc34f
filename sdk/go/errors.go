package ferrite

import (
	"fmt"
	"strconv"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/internal/abi"
)

// Error is an error reply: a code in capitals, a blank, and a text.
type Error struct {
	text string
}

// Error returns the whole text, code included.
func (e *Error) Error() string {
	return e.text
}

// Errorf makes an error reply from a format and its arguments, as fmt.Errorf does. A text without a
// code gets ERR.
func Errorf(format string, args ...any) *Error {
	return &Error{withCode(fmt.Sprintf(format, args...))}
}

// newError makes an error reply from its parts, without package fmt, which is large.
func newError(parts ...string) *Error {
	var text string
	for _, part := range parts {
		text += part
	}
	return &Error{withCode(text)}
}

// withCode adds the code ERR to a text without a code of its own, such as WRONGTYPE.
func withCode(text string) string {
	for i := range len(text) {
		char := text[i]
		switch {
		case char >= 'A' && char <= 'Z':
		case i > 0 && (char >= '0' && char <= '9' || char == '_'):
		case i >= 2 && char == ' ':
			return text
		default:
			return "ERR " + text
		}
	}
	return "ERR " + text
}

// found returns the error of a status, and nil for a status that only reports a missing value.
func found(status int32, operation string, subject []byte) error {
	if status == abi.NotFound {
		return nil
	}
	return failed(int64(status), operation, subject)
}

// failed returns the error for a negative status of a host function about a subject.
func failed(status int64, operation string, subject []byte) error {
	if status >= 0 {
		return nil
	}
	code, text := "ERR ", "unknown status "+strconv.FormatInt(status, 10)
	switch status {
	case abi.WrongType:
		return &Error{"WRONGTYPE Operation against a key holding the wrong kind of value"}
	case abi.Denied:
		code, text = "NOPERM ", "not permitted"
	case abi.ReadOnly:
		code, text = "NOPERM ", "the call may only read"
	case abi.Limit:
		code, text = "LIMIT ", "a limit was reached"
	case abi.Invalid:
		if operation == "incr_by" {
			return &Error{"ERR value is not an integer or out of range"}
		}
		text = "invalid value or parameter"
	case abi.Store:
		text = "the store failed"
	}
	return &Error{code + operation + " " + excerpt(subject) + ": " + text}
}

// excerptBytesMax is the most bytes of a value that an error reply shows.
const excerptBytesMax = 64

// excerpt returns a value in double quotes, escaped and shortened.
func excerpt(value []byte) string {
	const hex = "0123456789abcdef"
	text := []byte{'"'}
	for _, char := range value[:min(len(value), excerptBytesMax)] {
		switch {
		case char == '"' || char == '\\':
			text = append(text, '\\', char)
		case char == '\n':
			text = append(text, '\\', 'n')
		case char == '\r':
			text = append(text, '\\', 'r')
		case char >= ' ' && char <= '~':
			text = append(text, char)
		default:
			text = append(text, '\\', 'x', hex[char>>4], hex[char&15])
		}
	}
	text = append(text, '"')
	if len(value) > excerptBytesMax {
		text = append(text, "..."...)
	}
	return string(text)
}
