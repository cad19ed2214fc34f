"""Numbers in text, read as every SDK reads them."""

import math
import re

_INTEGER = re.compile(r"-?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")
_INFINITY = re.compile(r"[+-]?(?:inf|infinity)\Z", re.IGNORECASE)

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


def parse_int(text: str) -> int | None:
    """Digits after an optional minus sign, within 64 bits."""
    # A number of more digits, without its zeros, is out of range: it is not read at all.
    if not _INTEGER.match(text) or len(text.lstrip("-").lstrip("0")) > 19:
        return None
    sign = -1 if text[0] == "-" else 1
    number = sign * int(text.lstrip("-").lstrip("0") or "0")
    return number if INT_MIN <= number <= INT_MAX else None


def parse_float(text: str) -> float | None:
    """Decimal digits with an optional sign, point and exponent, or an infinity.

    Numbers that are too large, or so small that nothing is left, are refused.
    """
    if _INFINITY.match(text):
        return float(text)
    if not _DECIMAL.match(text):
        return None
    number = float(text)
    vanished = number == 0 and any(digit in "123456789" for digit in re.split("[eE]", text)[0])
    return None if math.isinf(number) or vanished else number


def format_float(number: float) -> str:
    """The shortest digits, as the store writes them: `3`, `0.25`, `1e+21`."""
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    if math.isnan(number):
        return "nan"
    text = repr(number)
    if number == 0 or 1e-6 <= abs(number) < 1e21:
        if "e" in text:
            text = f"{number:.20f}".rstrip("0") if abs(number) < 1 else str(int(number))
        return text.removesuffix(".0")
    digits, _, exponent = text.partition("e")
    if not exponent:
        digits, _, exponent = f"{number:.17e}".partition("e")
        for precision in range(17):
            shorter = f"{number:.{precision}e}"
            if float(shorter) == number:
                digits, _, exponent = shorter.partition("e")
                break
    return f"{digits}e{'-' if exponent[0] == '-' else '+'}{exponent.lstrip('+-').lstrip('0')}"
