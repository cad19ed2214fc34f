"""Error replies, and how values are shown in them."""

import re
import traceback

_CODE = re.compile(r"[A-Z][A-Z0-9_]+ ")
_EXCERPT_BYTES_MAX = 64
_FRAMES_MAX = 8
# The folder of the SDK's files, as frames name it.
_SDK = (lambda: None).__code__.co_filename.rpartition("/")[0] + "/"


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


def summary(error: BaseException) -> str:
    """An exception and where it was raised, innermost first, on one line. A recursion's frames are counted."""
    shown = []
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        # The SDK's own files are of no interest. A component has all of them in numbered folders.
        if frame.filename.startswith(_SDK):
            continue
        place = f"{re.sub(r'^/[0-9]+/', '', frame.filename)}:{frame.lineno} in {frame.name}"
        if shown and shown[-1][0] == place:
            shown[-1][1] += 1
        else:
            shown.append([place, 1])
    places = [place if count == 1 else f"{place}, {count} times" for place, count in shown[:_FRAMES_MAX]]
    if len(shown) > _FRAMES_MAX:
        places.append("...")
    text = "".join(traceback.format_exception_only(error)).strip().replace("\n", " ")
    if isinstance(error, ImportError):
        text += ", and nothing can be imported while a call runs: import it at the top of a module"
    return f"{text} ({' < '.join(places)})" if places else text


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
