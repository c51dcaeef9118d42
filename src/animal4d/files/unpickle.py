"""Reading pickles and torch files from strangers: data comes in, nothing is executed.

A pickle is a program, and Python's own machine for it calls whatever the file names. `load_pickle` runs the program on
a machine of its own (`pickle_machine`), and builds the few classes that data consist of itself (`pickle_values`).
Everything else is refused by name. Ordered dicts come back as dicts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from animal4d.errors import Animal4dError
from animal4d.files.pickle_machine import Machine, Refused, printable
from animal4d.files.pickle_values import KNOWN, read_torch_file

_ADMITTED = "numpy arrays, scipy sparse matrices, torch tensors, chumpy arrays and plain containers"


def load_pickle(path: Path | str, encoding: str = "latin1") -> Any:
    """What a pickle of any protocol holds, if it is data.

    `encoding` decodes the strings of Python 2 ("bytes" leaves them as bytes). Arrays come in the machine's byte order.

    Raises Animal4dError, in one line, where the file cannot be read, is damaged, or holds anything but data.
    """
    data = _read(path)
    try:
        return Machine(data, encoding, KNOWN).load()
    except Refused as error:
        raise Animal4dError(f"{path}: holds {error}, which is not loaded for safety; {_ADMITTED} are") from error
    except Exception as error:  # a damaged program can fail in any way
        raise Animal4dError(f"{path}: cannot be read as a pickle ({_reason(error)}); get the file again") from error


def load_torch(path: Path | str) -> Any:
    """What a file of `torch.save` holds (tensors and plain containers), on the CPU.

    Raises Animal4dError, in one line, where the file cannot be read, is damaged, or holds anything else.
    """
    data = _read(path)
    try:
        return read_torch_file(data)
    except Exception as error:  # of many kinds, from zip, pickle and torch
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused is not None:
            raise Animal4dError(f"{path}: holds {refused[1]}, which is not loaded for safety; tensors are") from error
        raise Animal4dError(f"{path}: cannot be read as a torch file ({_reason(error)}); get it again") from error


def _read(path: Path | str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise Animal4dError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise Animal4dError(f"{path}: is empty; get the file again")
    return data


def _reason(error: Exception) -> str:
    """Why something failed, in a part of a line."""
    lines = str(error).splitlines()
    reason = lines[0] if lines and not isinstance(error, KeyError) else f"{type(error).__name__} {error}".strip()
    return printable(reason)
