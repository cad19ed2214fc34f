"""The three functions of the Rust examples, in Python."""

from dataclasses import dataclass

import ferrite


@ferrite.function
def rate_limit(key: str, limit: int, window_secs: int) -> bool:
    """Tells if one more call is allowed within the window, and counts it if so."""
    current = ferrite.get_int(key)
    if current >= limit:
        return False
    ferrite.incr(key)
    if current == 0:
        ferrite.expire(key, window_secs)
    return True


@dataclass
class Request:
    """What a user asks for. Other members are ignored."""

    action: str


#: Everything that can be asked for, in the order in which roles gain it.
ACTIONS = ["login", "read", "write", "delete"]
ALLOWED = {"admin": 4, "editor": 3}


@ferrite.function
def validate_user(key: str, request: Request) -> dict:
    """Tells if the user at a key may do what the request says; a login is counted and dated."""
    if request.action not in ACTIONS:
        raise ferrite.Error(f"BADACTION {request.action} is none of {', '.join(ACTIONS)}")
    user = ferrite.hgetall(key)
    if "status" not in user:
        return {"allowed": False, "reason": "unknown user"}
    if user["status"] != "active":
        return {"allowed": False, "reason": f"account is {user['status']}"}
    role = user.get("role", "viewer")
    if ACTIONS.index(request.action) >= ALLOWED.get(role, 2):
        return {"allowed": False, "reason": f"role {role} may not {request.action}"}
    if request.action == "login":
        ferrite.call("HINCRBY", key, "logins", 1)
        ferrite.hset(key, "last_login", ferrite.time_ms())
    return {"allowed": True, "reason": "ok"}


@ferrite.function
def aggregate_stats(pattern: str, start_date: str, end_date: str) -> dict[str, int]:
    """Sums the counters, by name, of all hashes whose key matches and ends in a date of the range."""
    sums: dict[str, int] = {}
    for key in ferrite.scan(pattern):
        if not start_date <= key.rpartition(":")[2] <= end_date:
            continue
        for name, text in ferrite.hgetall(key).items():
            try:
                count = int(text)
            except ValueError:
                raise ferrite.Error(f"BADSTAT {key} {name} is not an integer") from None
            sums[name] = sums.get(name, 0) + count
            if not -(1 << 63) <= sums[name] < 1 << 63:
                raise ferrite.Error(f"BADSTAT {name} is too large to add up")
    return dict(sorted(sums.items()))
