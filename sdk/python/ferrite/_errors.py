"""Error replies, and how values are shown in them."""

import re

_CODE = re.compile(r"[A-Z][A-Z0-9_]+ ")
_EXCERPT_BYTES_MAX = 64


class Error(Exception):
    """An error reply: a code in capitals, a blank, and a text. A text without a code gets `ERR`.

    Raise it to answer a call with this error, which is a reply like any other: what the call has
    written stays. The functions of the store raise it too, and then `code` says why: `WRONGTYPE`,
    `NOPERM`, `LIMIT`.
    """

    def __init__(self, text: str) -> None:
        text = str(text)
        super().__init__(text if _CODE.match(text) else f"ERR {text}")

    @property
    def code(self) -> str:
        """The first word."""
        return str(self).split(" ", 1)[0]


def excerpt(value: bytes) -> str:
    """A value in double quotes, escaped and shortened."""
    shown = []
    for byte in value[:_EXCERPT_BYTES_MAX]:
        char = chr(byte)
        if char in '"\\':
            shown.append("\\" + char)
        elif char == "\n":
            shown.append("\\n")
        elif char == "\r":
            shown.append("\\r")
        elif " " <= char <= "~":
            shown.append(char)
        else:
            shown.append(f"\\x{byte:02x}")
    dots = "..." if len(value) > _EXCERPT_BYTES_MAX else ""
    return f'"{"".join(shown)}"{dots}'
