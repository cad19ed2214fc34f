"""Triggers and schedules that a program declares, so that a host adds them when it loads the function."""

import json
import re

from ferrite._entries import entries

#: Functions, each with the kind of its declaration and what follows the entry's name.
_declared: list[tuple[object, str, list[str]]] = []

_OPTIONS = ("KEYS", "EVENTS", "BEFORE", "AFTER", "MISSED", "ARGS")


def _word(text: str) -> str:
    """A word of a declaration, in quotes where it needs them."""
    if re.fullmatch(r"[!#-~][!-~]*", text) and text.upper() not in _OPTIONS:
        return text
    return json.dumps(text, ensure_ascii=False)


def _option(name: str, words: str | list[str] | tuple[str, ...]) -> list[str]:
    listed = [words] if isinstance(words, str) else list(words)
    return [name, *map(_word, listed)] if listed else []


def on(*, keys: str | list[str], events: str | list[str], before: bool = False):
    """Lets a host that loads the module call a function after events of keys, or before.

    Beside `@ferrite.function`. `keys` are patterns and `events` names of events, or `*`. With `before`, the
    function runs inside the transaction that writes, and may refuse it.
    """
    words = [*_option("KEYS", keys), *_option("EVENTS", events), *(["BEFORE"] if before else [])]
    return _declare("on", words)


def every(time: str, *, missed: str = "skip", keys: str | list[str] = (), args: str | list[str] = ()):
    """Lets a host that loads the module call a function again and again, after a time such as `5m`.

    With `missed="once"`, it runs once for all times that were missed. It gets `keys` and `args`.
    """
    return _declare("every", _timed(time, missed, keys, args))


def cron(expression: str, *, missed: str = "skip", keys: str | list[str] = (), args: str | list[str] = ()):
    """Lets a host that loads the module call a function at the times of an expression of cron, in UTC."""
    return _declare("cron", _timed(expression, missed, keys, args))


def _timed(time: str, missed: str, keys, args) -> list[str]:
    if missed not in ("skip", "once"):
        raise ValueError(f"missed is 'skip' or 'once', not {missed!r}")
    once = ["MISSED", "once"] if missed == "once" else []
    return [_word(time), *once, *_option("KEYS", keys), *_option("ARGS", args)]


def _declare(kind: str, words: list[str]):
    def add(target):
        _declared.append((target, kind, words))
        return target

    return add


def lines() -> list[str]:
    """The declarations of the program, one a line."""
    names = {id(entry.function): name for name, entry in entries.items()}
    found = []
    for target, kind, words in _declared:
        name = names.get(id(target))
        if name is None:
            shown = getattr(target, "__name__", repr(target))
            raise ValueError(f"@ferrite.{kind} of {shown} needs @ferrite.function on the same function")
        found.append(" ".join([kind, _word(name), *words]))
    return found
