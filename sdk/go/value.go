package ferrite

import "strconv"

// Kind is the kind of a command's reply.
type Kind int

// The kinds. The host uses RESP2, so maps are flat arrays.
const (
	KindNull Kind = iota
	KindInt
	// KindString is a string or a status text.
	KindString
	KindArray
	// KindError is an error inside an array; a command's own error is Do's error.
	KindError
)

// Value is the reply of a command.
type Value struct {
	Kind   Kind
	Items  []Value
	number int64
	text   string
}

// IsNull returns true if there is no value.
func (v Value) IsNull() bool {
	return v.Kind == KindNull
}

// Int returns the value as an integer; ok is true if it is one, or its text is.
func (v Value) Int() (number int64, ok bool) {
	if v.Kind == KindInt {
		return v.number, true
	}
	return parseInt([]byte(v.text))
}

// Float returns the value as a number; ok is true if it is an integer, or its text is a number.
func (v Value) Float() (number float64, ok bool) {
	if v.Kind == KindInt {
		return float64(v.number), true
	}
	return ParseNumber(v.text)
}

// Bytes returns the bytes of a string or an error; none for anything else.
func (v Value) Bytes() []byte {
	return []byte(v.text)
}

// String returns the value as text; empty if it is null.
func (v Value) String() string {
	if v.Kind == KindInt {
		return strconv.FormatInt(v.number, 10)
	}
	return v.text
}

// Strings returns the items of an array as texts.
func (v Value) Strings() []string {
	texts := make([]string, len(v.Items))
	for i, item := range v.Items {
		texts[i] = item.String()
	}
	return texts
}

// StringMap returns the pairs of a flat array as a map.
func (v Value) StringMap() map[string]string {
	pairs := make(map[string]string, len(v.Items)/2)
	for i := 0; i+1 < len(v.Items); i += 2 {
		pairs[v.Items[i].String()] = v.Items[i+1].String()
	}
	return pairs
}

// depthMax is the deepest nesting to read.
const depthMax = 32

// decode reads one reply and returns the bytes after it.
func decode(bytes []byte, depth int) (value Value, rest []byte, ok bool) {
	end := 0
	for end < len(bytes) && bytes[end] != '\r' {
		end++
	}
	if end == 0 || end+2 > len(bytes) {
		return Value{}, nil, false
	}
	head, line, rest := bytes[0], bytes[1:end], bytes[end+2:]
	switch head {
	case '+':
		return Value{Kind: KindString, text: string(line)}, rest, true
	case '-':
		return Value{Kind: KindError, text: string(line)}, rest, true
	}
	number, ok := parseInt(line)
	switch {
	case !ok:
		return Value{}, nil, false
	case head == ':':
		return Value{Kind: KindInt, number: number}, rest, true
	case number < 0:
		return Value{}, rest, true
	case head == '$' && number <= int64(len(rest)-2):
		return Value{Kind: KindString, text: string(rest[:number])}, rest[number+2:], true
	case head == '*' && depth < depthMax:
		items := make([]Value, 0, min(number, int64(len(rest)/3)))
		for range number {
			var item Value
			if item, rest, ok = decode(rest, depth+1); !ok {
				return Value{}, nil, false
			}
			items = append(items, item)
		}
		return Value{Kind: KindArray, Items: items}, rest, true
	}
	return Value{}, nil, false
}
