// Functions that are called beside the data.
package main

import ferrite "github.com/ferrite-wasm/ferrite-wasm/sdk/go"

//go:wasmexport rate_limit
func rateLimitEntry() { ferrite.Serve3("rate_limit", rateLimit, "key", "limit", "window_secs") }

// rateLimit allows at most limit calls in a window of so many seconds.
func rateLimit(key string, limit, windowSecs int64) (bool, error) {
	current, err := ferrite.GetInt(key)
	if err != nil || current >= limit {
		return false, err
	}
	if _, err := ferrite.Incr(key); err != nil {
		return false, err
	}
	if current == 0 {
		_, err = ferrite.Expire(key, windowSecs)
	}
	return true, err
}

func main() {}
