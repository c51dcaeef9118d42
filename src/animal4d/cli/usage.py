"""Usage errors in one line: tyro draws a box of many lines around them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_SIDE = re.compile(r"^[│|] ?(.*?) ?[│|]$")
_RULE = re.compile(r"[─-]{3,}")
_HELP = re.compile(r"(animal4d[a-z -]*) --help")
_INDENT = 2
"""Columns by which it indents everything where it cannot draw a frame; the box is then its title and a rule."""
_UNPARSED = (
    re.compile(
        r"error parsing (?P<name>\S+): no type matching \{None\}\|(?P<kind>\S+) could be .* from \['(?P<given>.*)'\]"
    ),
    re.compile(r"error parsing (?P<name>\S+): invalid literal for (?P<kind>int)\(\) with base 10: '(?P<given>.*)'"),
    re.compile(r"error parsing (?P<name>\S+): could not convert string to (?P<kind>float): '(?P<given>.*)'"),
)
"""How tyro tells that a value is none of its option's kind."""
_NO_CHOICE = re.compile(r"'None', |, 'None'")
"""That an option may be absent, among what can be given."""
_KINDS = {"INT": "a whole number", "FLOAT": "a number"}
_HELP_TEXT = 8
"""Columns by which tyro indents what an option is for, below its name."""


def usage_error(box: str, arguments: Sequence[str]) -> str:
    """What tyro has to say about arguments that it refuses, and which help explains them, in one line.

    `box` is what it wrote to stderr. Of its parts between rules the first says what is wrong; others name options or
    commands that may have been meant. A box of a shape not known here comes whole.
    """
    lines = _ESCAPE.sub("", box).splitlines()
    framed = [match[1].rstrip() for line in lines if (match := _SIDE.match(line.strip()))]
    parts: list[list[str]] = [[]]
    for line in framed or [line[_INDENT:].rstrip() for line in lines]:
        if _RULE.fullmatch(line.strip()):
            parts.append([])
        else:
            parts[-1].append(line)
    if not framed:
        parts = parts[1:] or [[]]
    said = [_plainly(_in_one_line(parts[0]))]
    said += [_in_one_line(part) for part in parts[1:] if part[:1] and part[0].startswith(("Perhaps", "Available"))]
    if not said[0]:
        return _joined(box.splitlines())
    helped = _HELP.findall(_joined(parts[-1]))
    command = helped[0] if helped else "animal4d"
    # tyro points to the help of all commands even where one of them was understood.
    understood = not any(words.startswith(("expected one of", "available subcommands")) for words in said)
    if command == "animal4d" and understood and arguments and not arguments[0].startswith("-"):
        command = f"animal4d {arguments[0]}"
    return f"{'; '.join(said)}; see {command} --help"


def _in_one_line(part: Sequence[str]) -> str:
    """The first paragraph, without what options are for."""
    end = next((place for place, line in enumerate(part) if not line), len(part))
    text = _joined([line for line in part[:end] if len(line) - len(line.lstrip()) < _HELP_TEXT])
    return text[:1].lower() + text[1:].rstrip(".")


def _plainly(text: str) -> str:
    """What an option expects, where tyro speaks of Python's types."""
    for pattern in _UNPARSED:
        if match := pattern.fullmatch(text):
            kind = match["kind"].upper()
            choices = " or ".join(match["kind"].strip("{}").split(","))
            return f"{match['name']}: expected {_KINDS.get(kind, choices)}, got '{match['given']}'"
    return _NO_CHOICE.sub("", text)


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())
