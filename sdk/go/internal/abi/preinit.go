//go:build wasip1

package abi

// preinit is never called. Its export requests that Go's runtime be started once, when the module
// is compiled, and not in every new instance, which would take it about a millisecond.
//
//go:wasmexport __preinit
func preinit() {}
