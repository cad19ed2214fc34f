package ferrite

import (
	"encoding"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/internal/abi"
)

// A parameter of a function may be a string, []byte, bool, an integer, a float64, a []string or
// []int64 (all that remain), or a type whose pointer is an encoding.TextUnmarshaler. The functions
// Serve0 to Serve6 fill them from the call's KEYS, then its ARGS, in order, call the function and
// reply its result; see reply for the possible types. Error replies use the names of the
// parameters.

// Serve0 runs a call of a function without parameters.
func Serve0[R any](name string, f func() (R, error)) {
	serve(name, nil, func(in *input) (any, error) {
		in.end()
		return f()
	})
}

// Serve1 runs a call of a function with one parameter.
func Serve1[A, R any](name string, f func(A) (R, error), a string) {
	serve(name, []string{a}, func(in *input) (any, error) {
		va := take[A](in)
		in.end()
		return f(va)
	})
}

// Serve2 runs a call of a function with two parameters.
func Serve2[A, B, R any](name string, f func(A, B) (R, error), a, b string) {
	serve(name, []string{a, b}, func(in *input) (any, error) {
		va, vb := take[A](in), take[B](in)
		in.end()
		return f(va, vb)
	})
}

// Serve3 runs a call of a function with three parameters.
func Serve3[A, B, C, R any](name string, f func(A, B, C) (R, error), a, b, c string) {
	serve(name, []string{a, b, c}, func(in *input) (any, error) {
		va, vb, vc := take[A](in), take[B](in), take[C](in)
		in.end()
		return f(va, vb, vc)
	})
}

// Serve4 runs a call of a function with four parameters.
func Serve4[A, B, C, D, R any](name string, f func(A, B, C, D) (R, error), a, b, c, d string) {
	serve(name, []string{a, b, c, d}, func(in *input) (any, error) {
		va, vb, vc, vd := take[A](in), take[B](in), take[C](in), take[D](in)
		in.end()
		return f(va, vb, vc, vd)
	})
}

// Serve5 runs a call of a function with five parameters.
func Serve5[A, B, C, D, E, R any](name string, f func(A, B, C, D, E) (R, error), a, b, c, d, e string) {
	serve(name, []string{a, b, c, d, e}, func(in *input) (any, error) {
		va, vb, vc, vd, ve := take[A](in), take[B](in), take[C](in), take[D](in), take[E](in)
		in.end()
		return f(va, vb, vc, vd, ve)
	})
}

// Serve6 runs a call of a function with six parameters.
func Serve6[A, B, C, D, E, F, R any](name string, f func(A, B, C, D, E, F) (R, error), a, b, c, d, e, g string) {
	serve(name, []string{a, b, c, d, e, g}, func(in *input) (any, error) {
		va, vb, vc, vd, ve, vf := take[A](in), take[B](in), take[C](in), take[D](in), take[E](in), take[F](in)
		in.end()
		return f(va, vb, vc, vd, ve, vf)
	})
}

// input is a call's keys and arguments, and the number of those taken.
type input struct {
	name       string
	parameters []string
	parameter  int
	keys       int
	count      int
	taken      int
}

// refusal is the error of a call whose input does not fit the parameters. It is a panic value, so
// the function does not run.
type refusal struct {
	err *Error
}

func serve(name string, parameters []string, run func(*input) (any, error)) {
	keys := int(abi.Current.KeyCount())
	in := &input{
		name:       name,
		parameters: parameters,
		keys:       keys,
		count:      keys + int(abi.Current.ArgCount()),
	}
	defer ended()
	result, err := run(in)
	if err != nil {
		replyError(err)
		return
	}
	reply(result)
}

// ended replies the error of a refusal. Any other panic ends the call: one entry of the log has its
// message, which is also the reply, and the goroutine's stack.
func ended() {
	thrown := recover()
	if thrown == nil {
		return
	}
	if refused, ok := thrown.(refusal); ok {
		replyError(refused.err)
		return
	}
	Log(ErrorLevel, "panic: "+message(thrown)+"\n"+stack())
	abi.Exit(thrown)
}

// message returns what the value of a panic says.
func message(thrown any) (text string) {
	defer func() {
		if recover() != nil {
			text = "a value whose own text panics"
		}
	}()
	switch thrown := thrown.(type) {
	case error:
		return thrown.Error()
	case interface{ String() string }:
		return thrown.String()
	}
	switch value := reflect.ValueOf(thrown); value.Kind() {
	case reflect.String:
		return value.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(value.Int(), 10)
	default:
		return "a value of type " + value.Type().String()
	}
}

// stack returns the goroutine's stack from the panic on, innermost first.
func stack() string {
	text := string(debug.Stack())
	head, frames, _ := strings.Cut(text, "\n")
	if _, below, ok := strings.Cut(frames, "\npanic("); ok {
		frames = "panic(" + below
	}
	return head + "\n" + strings.TrimSuffix(frames, "\n")
}

func (in *input) fail(parts ...string) {
	panic(refusal{newError(parts...)})
}

func (in *input) signature() string {
	text := "ERR " + in.name + "("
	for i, parameter := range in.parameters {
		if i > 0 {
			text += ", "
		}
		text += parameter
	}
	return text + "): "
}

func (in *input) position(index int) string {
	if index < in.keys {
		return "KEYS[" + strconv.Itoa(index+1) + "]"
	}
	return "ARGS[" + strconv.Itoa(index-in.keys+1) + "]"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func (in *input) counts() string {
	return "; got " + plural(in.keys, "key") + " and " + plural(in.count-in.keys, "argument")
}

func (in *input) next(kind string) []byte {
	if in.taken == in.count {
		in.fail(in.signature(), "no value for '", in.parameters[in.parameter], "' (", kind, ")", in.counts())
	}
	index := in.taken
	in.taken++
	buf, status := abi.Result(func(buf []byte) int32 {
		if index < in.keys {
			return abi.Current.Key(int32(index), buf)
		}
		return abi.Current.Arg(int32(index-in.keys), buf)
	})
	if err := failed(int64(status), "input", nil); err != nil {
		in.fail(err.Error())
	}
	return buf
}

func (in *input) mismatch(kind, expected string, given []byte) {
	place := "'" + in.parameters[in.parameter] + "' (" + in.position(in.taken-1) + ", " + kind + ")"
	in.fail("ERR ", in.name, ": ", place, " must be ", expected, ", not ", excerpt(given))
}

func (in *input) end() {
	if in.taken < in.count {
		in.fail(in.signature(), in.position(in.taken), " is one too many", in.counts())
	}
}

func (in *input) text() string {
	bytes := in.next("string")
	if !utf8.Valid(bytes) {
		in.mismatch("string", "UTF-8 text", bytes)
	}
	return string(bytes)
}

func (in *input) int64(kind string) int64 {
	bytes := in.next(kind)
	number, ok := parseInt(bytes)
	if !ok {
		in.mismatch(kind, "a 64-bit integer", bytes)
	}
	return number
}

// take fills one parameter.
func take[T any](in *input) T {
	var value T
	switch pointer := any(&value).(type) {
	case *string:
		*pointer = in.text()
	case *[]byte:
		*pointer = in.next("[]byte")
	case *int64:
		*pointer = in.int64("int64")
	case *int:
		number := in.int64("int")
		if int64(int(number)) != number {
			in.mismatch("int", "a "+strconv.Itoa(strconv.IntSize)+"-bit integer", strconv.AppendInt(nil, number, 10))
		}
		*pointer = int(number)
	case *bool:
		switch bytes := in.next("bool"); string(bytes) {
		case "1", "true":
			*pointer = true
		case "0", "false":
		default:
			in.mismatch("bool", "1, 0, true or false", bytes)
		}
	case *float64:
		bytes := in.next("float64")
		number, ok := ParseNumber(string(bytes))
		if !ok {
			in.mismatch("float64", "a number", bytes)
		}
		*pointer = number
	case *[]string:
		for in.taken < in.count {
			*pointer = append(*pointer, in.text())
		}
	case *[]int64:
		for in.taken < in.count {
			*pointer = append(*pointer, in.int64("[]int64"))
		}
	case Named:
		bytes := in.next(pointer.Name())
		if err := pointer.UnmarshalText(bytes); err != nil {
			in.mismatch(pointer.Name(), pointer.Name()+" ("+err.Error()+")", bytes)
		}
	default:
		panic("ferrite: " + in.name + ": '" + in.parameters[in.parameter] + "' is of a type that cannot be a parameter")
	}
	in.parameter++
	return value
}

// Named is the interface of pointers to a parameter's own type: it reads itself from a value, and
// has a name for error replies. JSON is one.
type Named interface {
	encoding.TextUnmarshaler
	Name() string
}
