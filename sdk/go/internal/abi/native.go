//go:build !wasip1

package abi

// Current is the host that functions reach. Package ferritetest puts its store here.
var Current Host

// Exit ends the process with the panic that a function has ended with.
func Exit(thrown any) {
	panic(thrown)
}
