"""Arguments that the command line refuses: one line with the help that explains them, and exit status 2."""

from __future__ import annotations

import subprocess
import sys

import pytest

from animal4d.cli.usage import usage_error
from cli.commands import animal4d

CASES = {
    "unknown option": (["reconstruct", "x", "--out", "y", "--stepz", "3"], ("--stepz", "--steps INT"), "reconstruct"),
    "bad number": (["reconstruct", "x", "--out", "y", "--steps", "abc"], ("--steps", "abc"), "reconstruct"),
    "bad number that may be absent": (
        ["animate", "x", "--out", "y", "--speed", "abc"],
        ("--speed: expected a number, got 'abc'",),
        "animate",
    ),
    "bad whole number": (
        ["reconstruct", "x", "--out", "y", "--start", "1.5"],
        ("--start: expected a whole number, got '1.5'",),
        "reconstruct",
    ),
    "bad choice that may be absent": (["reconstruct", "x", "--out", "y", "--device", "q"], ("cuda",), "reconstruct"),
    "bad choice": (
        ["reconstruct", "x", "--out", "y", "--preset", "mine"],
        ("mine", "paper"),
        "reconstruct",
    ),
    "missing option": (["reconstruct", "x"], ("--out PATH",), "reconstruct"),
    "missing value": (["reconstruct", "x", "--out", "y", "--steps"], ("--steps",), "reconstruct"),
    "missing argument of a command in a group": (["data", "verify"], ("PATH",), "data verify"),
    "one argument too many": (["demo", "extra"], ("extra",), "demo"),
    "no command": ([], ("reconstruct", "demo"), ""),
    "unknown command": (["recnstruct"], ("recnstruct", "reconstruct"), ""),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_usage_is_told_in_one_line(case):
    arguments, words, command = CASES[case]
    outcome = animal4d(*arguments)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1 and outcome.out == ""
    assert outcome.err.startswith("animal4d: error: ")
    assert all(word in outcome.err for word in words)
    assert outcome.err.endswith(f"; see {' '.join(['animal4d', command]).strip()} --help\n")
    assert not set("│─╭╯") & set(outcome.err)
    assert "None" not in outcome.err and "base 10" not in outcome.err


def test_where_no_frame_can_be_drawn():
    command = [sys.executable, "-c", "from animal4d.cli.main import main; main(['doctor', '--loud'])"]
    outcome = subprocess.run(command, env={"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert outcome.stderr == "animal4d: error: unrecognized options: --loud; see animal4d doctor --help\n"


def test_as_a_module():
    command = [sys.executable, "-m", "animal4d", "--version"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0 and outcome.stdout.startswith("animal4d ")


def test_a_box_of_another_shape_comes_whole():
    assert usage_error("something\nelse", ["demo"]) == "something else"


def test_help_is_not_touched():
    outcome = animal4d("data", "verify", "--help")
    assert outcome.status == 0
    assert "usage: animal4d data verify" in outcome.out
