package main

import (
	"testing"

	"github.com/ferrite-wasm/ferrite-wasm/sdk/go/ferritetest"
)

func TestTheWindowCounts(t *testing.T) {
	store := ferritetest.New(t)
	call := func() any { return store.Call(rateLimitEntry, []string{"api:1"}, []string{"1", "60"}) }
	if call() != true || call() != false {
		t.Error("the limit is 1")
	}
	store.Advance(60_000)
	if call() != true {
		t.Error("a new window has begun")
	}
}
