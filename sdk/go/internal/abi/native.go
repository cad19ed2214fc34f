//go:build !wasip1

package abi

// Current is the host that functions reach. Package ferritetest puts its store here.
var Current Host
