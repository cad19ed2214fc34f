"""Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before a literal byte."""


def matches(pattern: bytes, text: bytes) -> bool:
    """True if the text as a whole matches."""
    if not text:
        # Redis matches no star against the empty text, except where `*` is the whole pattern.
        return pattern in (b"", b"*")
    at = position = 0
    # After the last star, and the position from which it was tried. A mismatch tries it again one byte later.
    after_star, tried = -1, 0
    while position < len(text):
        if pattern[at : at + 1] == b"*":
            at += 1
            after_star, tried = at, position
            continue
        following = _one(pattern, at, text[position])
        if following is not None:
            at = following
            position += 1
        elif after_star >= 0:
            tried += 1
            at, position = after_star, tried
        else:
            return False
    return not pattern[at:].strip(b"*")


def _one(pattern: bytes, at: int, byte: int) -> int | None:
    """Matches one byte against the element at `at`; the position after it, or None."""
    if at == len(pattern):
        return None
    if pattern[at] == ord("?"):
        return at + 1
    if pattern[at] == ord("["):
        return _class(pattern, at + 1, byte)
    if pattern[at] == ord("\\") and at + 1 < len(pattern):
        at += 1
    return at + 1 if pattern[at] == byte else None


def _class(pattern: bytes, at: int, byte: int) -> int | None:
    negated = pattern[at : at + 1] == b"^"
    at += negated
    found = False
    while at < len(pattern) and pattern[at] != ord("]"):
        low = high = pattern[at]
        if low == ord("\\") and at + 1 < len(pattern):
            low = high = pattern[at + 1]
            at += 2
        elif at + 2 < len(pattern) and pattern[at + 1] == ord("-"):
            low, high = sorted((low, pattern[at + 2]))
            at += 3
        else:
            at += 1
        found |= low <= byte <= high
    return min(at + 1, len(pattern)) if found != negated else None
