//go:build !wasip1

package ferritetest

import (
	"strconv"
	"strings"
)

// decode reads the arguments of a command: an array of bulk strings.
func decode(text string) ([]string, bool) {
	head, rest, ok := strings.Cut(text, "\r\n")
	n, err := strconv.Atoi(strings.TrimPrefix(head, "*"))
	if !ok || err != nil || n < 0 {
		return nil, false
	}
	var items []string
	for range n {
		head, rest, ok = strings.Cut(rest, "\r\n")
		size, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
		if !ok || err != nil || size < 0 || size+2 > len(rest) {
			return nil, false
		}
		items = append(items, rest[:size])
		rest = rest[size+2:]
	}
	return items, rest == ""
}

// encode writes a command's reply in RESP2.
func encode(reply any) string {
	switch reply := reply.(type) {
	case nil:
		return "$-1\r\n"
	case int64:
		return ":" + strconv.FormatInt(reply, 10) + "\r\n"
	case string:
		return "$" + strconv.Itoa(len(reply)) + "\r\n" + reply + "\r\n"
	case Status:
		return "+" + string(reply) + "\r\n"
	case Error:
		return "-" + string(reply) + "\r\n"
	case []any:
		text := "*" + strconv.Itoa(len(reply)) + "\r\n"
		for _, item := range reply {
			text += encode(item)
		}
		return text
	}
	panic("ferritetest: no command replies such a value")
}
