"""What decorators declare, and what the build finds of it."""

import pytest

import ferrite
from ferrite import _automation, build


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Each test has its own entries and declarations."""
    monkeypatch.setattr(_automation, "_declared", [])
    monkeypatch.setattr(_automation, "entries", ferrite.entries.copy())
    yield
    for name in ("watched", "other-name"):
        ferrite.entries.pop(name, None)


def lines() -> list[str]:
    _automation.entries.update(ferrite.entries)
    return sorted(_automation.lines())


def test_decorators_become_lines_in_any_order():
    @ferrite.on(keys=["a b", "order:*", "KEYS"], events=["set", "*"], before=True)
    @ferrite.function(name="other-name")
    def first():
        """Another name than the function's."""

    @ferrite.function
    @ferrite.every("5m")
    @ferrite.cron("0 3 * * *", missed="once", keys="k", args=["x", "ü\n"])
    def watched(*values):
        """Runs by the clock."""

    assert lines() == [
        'cron watched "0 3 * * *" MISSED once KEYS k ARGS x "ü\\n"',
        "every watched 5m",
        'on other-name KEYS "a b" order:* "KEYS" EVENTS set * BEFORE',
    ]


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="'skip' or 'once', not 'never'"):
        ferrite.every("5m", missed="never")

    @ferrite.every("5m")
    def alone():
        """Is no entry."""

    with pytest.raises(ValueError, match="@ferrite.every of alone needs @ferrite.function"):
        lines()


def test_the_build_finds_them_between_the_marks():
    mark = bytes(range(1, 25))
    declared = 'every f 5m\non f KEYS "ü" EVENTS set'.encode()
    # What was made on the way to the whole text remains in memory too.
    memory = mark + b"/\0rest" + mark + b"f" + mark[::-1] + b"\0" + mark + b"/" + declared + mark[::-1] + b"\0"
    assert build.declarations(memory, mark) == declared
    assert build.marked(memory, mark) == ["f"]
    with pytest.raises(build.BuildError):
        build.declarations(b"nothing", mark)
