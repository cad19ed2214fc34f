// The three functions of the Rust examples, in Go.
package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	ferrite "github.com/ferrite-wasm/ferrite-wasm/sdk/go"
)

//go:wasmexport rate_limit
func rateLimitEntry() { ferrite.Serve3("rate_limit", rateLimit, "key", "limit", "window_secs") }

//go:wasmexport validate_user
func validateUserEntry() { ferrite.Serve2("validate_user", validateUser, "key", "request") }

//go:wasmexport aggregate_stats
func aggregateStatsEntry() {
	ferrite.Serve3("aggregate_stats", aggregateStats, "pattern", "start_date", "end_date")
}

// rateLimit tells whether one more call is allowed within the window, and counts it if so.
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

// request is what a user asks for. Other members are ignored.
type request struct {
	Action string
}

// UnmarshalJSON refuses a request without an action.
func (r *request) UnmarshalJSON(text []byte) error {
	var members struct{ Action *string }
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	if members.Action == nil {
		return ferrite.Errorf("missing field `action`")
	}
	r.Action = *members.Action
	return nil
}

// actions is everything that can be asked for, in the order in which roles gain it.
var actions = []string{"login", "read", "write", "delete"}

func verdict(allowed bool, reason string) (ferrite.Pairs, error) {
	return ferrite.Pairs{{Key: "allowed", Value: allowed}, {Key: "reason", Value: reason}}, nil
}

// validateUser tells whether the user at key may do what the request says; a login is counted and dated.
func validateUser(key string, asked ferrite.JSON[request]) (ferrite.Pairs, error) {
	action := asked.Value.Action
	wanted := slices.Index(actions, action)
	if wanted < 0 {
		return nil, ferrite.Errorf("BADACTION %s is none of %s", action, strings.Join(actions, ", "))
	}

	user, err := ferrite.HGetAll(key)
	if err != nil {
		return nil, err
	}
	status, ok := user["status"]
	if !ok {
		return verdict(false, "unknown user")
	}
	if status != "active" {
		return verdict(false, "account is "+status)
	}

	role, ok := user["role"]
	if !ok {
		role = "viewer"
	}
	allowed := map[string]int{"admin": 4, "editor": 3}[role]
	if wanted >= max(allowed, 2) {
		return verdict(false, "role "+role+" may not "+action)
	}

	if action == "login" {
		if _, err := ferrite.Do("HINCRBY", key, "logins", 1); err != nil {
			return nil, err
		}
		if _, err := ferrite.HSet(key, "last_login", strconv.FormatInt(ferrite.TimeMillis(), 10)); err != nil {
			return nil, err
		}
	}
	return verdict(true, "ok")
}

// aggregateStats sums the counters, by name, of all hashes whose key matches and ends in a date of the range.
func aggregateStats(pattern, startDate, endDate string) (map[string]int64, error) {
	sums := map[string]int64{}
	for key, err := range ferrite.ScanKeys(pattern) {
		if err != nil {
			return nil, err
		}
		date := key[strings.LastIndexByte(key, ':')+1:]
		if date < startDate || date > endDate {
			continue
		}
		counters, err := ferrite.HGetAll(key)
		if err != nil {
			return nil, err
		}
		for name, text := range counters {
			count, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, ferrite.Errorf("BADSTAT %s %s is not an integer", key, name)
			}
			sum := sums[name] + count
			// The sum of two numbers of one sign has another only where it overflowed.
			if (sum^count)&(sum^sums[name]) < 0 {
				return nil, ferrite.Errorf("BADSTAT %s is too large to add up", name)
			}
			sums[name] = sum
		}
	}
	return sums, nil
}

func main() {}
