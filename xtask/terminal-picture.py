#!/usr/bin/env python3
"""Draws a terminal in which commands ran, as an SVG.

    xtask/terminal-picture.py OUT.svg COMMAND…

Each command runs by `sh` in a terminal of its own, in the current folder, and what it prints is drawn below its line,
colours included. Ends with status 1 if a command fails.
"""

import os
import pty
import re
import sys
from xml.sax.saxutils import escape

COLUMNS = 100
# Of a character, and between lines, in pixels of the picture.
WIDTH, HEIGHT, SIZE = 8.0, 19, 13.3
MARGIN = 20
BACKGROUND, TEXT = "#1c2128", "#d5dbe1"
# The eight colours of a terminal, and their bright ones.
COLOURS = [
    "#6e7681", "#ff8a80", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#d5dbe1",
    "#8b949e", "#ffa198", "#aff5b4", "#f2cc60", "#a5d6ff", "#e2c5ff", "#b3f0ff", "#ffffff",
]
SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>]")


class Screen:
    """What is on a terminal: a row for each line, a cell for each character with its style."""

    def __init__(self) -> None:
        self.rows: list[list[tuple[str, str]]] = [[]]
        self.row = self.column = 0
        self.style: dict[str, str] = {}

    def feed(self, text: str) -> None:
        place = 0
        for match in SEQUENCE.finditer(text):
            self.plain(text[place : match.start()])
            self.control(match.group(2), match.group(1) or "")
            place = match.end()
        self.plain(text[place:])

    def plain(self, text: str) -> None:
        for letter in text:
            if letter == "\n":
                self.row += 1
                while len(self.rows) <= self.row:
                    self.rows.append([])
            elif letter == "\r":
                self.column = 0
            elif letter >= " ":
                if self.column == COLUMNS:
                    self.plain("\r\n")
                line = self.rows[self.row]
                line.extend([(" ", "")] * (self.column + 1 - len(line)))
                line[self.column] = (letter, ";".join(f"{k}:{v}" for k, v in self.style.items()))
                self.column += 1

    def control(self, name: str | None, parameters: str) -> None:
        number = int(parameters) if parameters.isdigit() else 0
        if name == "m":
            self.colour([int(code or 0) for code in parameters.split(";")])
        elif name == "K":
            keep = 0 if number == 2 else self.column
            del self.rows[self.row][keep:]
        elif name == "A":
            self.row = max(0, self.row - max(1, number))
        elif name == "G":
            self.column = max(0, number - 1)

    def colour(self, codes: list[int]) -> None:
        for code in codes:
            if code == 0:
                self.style = {}
            elif code == 1:
                self.style["font-weight"] = "bold"
            elif code == 2:
                self.style["opacity"] = "0.7"
            elif 30 <= code <= 37:
                self.style["fill"] = COLOURS[code - 30]
            elif 90 <= code <= 97:
                self.style["fill"] = COLOURS[code - 90 + 8]


def run(command: str) -> str:
    """What a command prints on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LINES="40")
        os.execvp("sh", ["sh", "-c", f"stty cols {COLUMNS} rows 40; {command}"])
    parts = []
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that all programs have left the terminal.
            break
        if not part:
            break
        parts.append(part)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = b"".join(parts).decode()
    if status != 0:
        sys.exit(f"`{command}` ended with {status}:\n{text}")
    return text


def draw(rows: list[list[tuple[str, str]]]) -> str:
    """The picture of these rows."""
    width = int(MARGIN * 2 + COLUMNS * WIDTH)
    height = int(MARGIN * 2 + len(rows) * HEIGHT)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"',
        f'     font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, \'DejaVu Sans Mono\', monospace"',
        f'     font-size="{SIZE}" fill="{TEXT}" role="img">',
        f'  <rect width="{width}" height="{height}" rx="10" fill="{BACKGROUND}"/>',
    ]
    for number, row in enumerate(rows):
        y = MARGIN + number * HEIGHT + SIZE
        start = 0
        while start < len(row):
            end = start
            while end < len(row) and row[end][1] == row[start][1]:
                end += 1
            text = "".join(letter for letter, _ in row[start:end])
            if text.strip():
                lead = len(text) - len(text.lstrip())
                text = text.strip()
                style = f' style="{row[start][1]}"' if row[start][1] else ""
                # The length keeps columns in line whatever the font is.
                out.append(
                    f'  <text x="{MARGIN + (start + lead) * WIDTH:g}" y="{y:g}" textLength="{len(text) * WIDTH:g}"'
                    f' xml:space="preserve"{style}>{escape(text)}</text>'
                )
            start = end
    return "\n".join([*out, "</svg>", ""])


def main(out: str, commands: list[str]) -> None:
    screen = Screen()
    for command in commands:
        screen.feed(f"\x1b[32m$ \x1b[0;1m{command}\x1b[0m\r\n")
        screen.feed(run(command))
        screen.feed("\x1b[0m" + ("\r\n" if screen.column else "") + "\r\n")
    rows = screen.rows
    while rows and not any(letter.strip() for letter, _ in rows[-1]):
        rows.pop()
    with open(out, "w") as file:
        file.write(draw(rows))


if len(sys.argv) < 3:
    sys.exit(__doc__)
main(sys.argv[1], sys.argv[2:])
