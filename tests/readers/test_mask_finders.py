"""One finder after the other, until one finds masks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from animal4d.errors import Animal4dError
from animal4d.readers.mask_finders import Place, found_masks


class Failing:
    def __init__(self, name: str, kind: str, error: Exception) -> None:
        self.name, self.kind, self.error = name, kind, error

    def __call__(self, *arguments: Any) -> Any:
        raise self.error


FRAMES: Any = SimpleNamespace(path="walk.mp4", size=(60, 80))
SAM2 = Failing("sam2", "pretrained", RuntimeError("out of\nmemory"))
EYES = Failing("eyes", "builtin", Animal4dError("no animal is seen"))


def failure(*finders: Any, strict: bool = False) -> str:
    with pytest.raises(Animal4dError) as caught:
        found_masks(finders, FRAMES, None, Place(), None, strict)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_where_all_fail_each_ones_failure_is_told():
    told = "no masks by sam2 (RuntimeError: out of memory); no masks by eyes (no animal is seen)"
    assert failure(SAM2, EYES) == f"walk.mp4: nobody finds masks: {told}"
    assert failure(EYES, SAM2).endswith(
        "no masks by eyes (no animal is seen); no masks by sam2 (RuntimeError: out of memory)"
    )


def test_one_alone_and_the_first_of_strict_speak_for_themselves():
    assert failure(EYES) == failure(EYES, SAM2, strict=True) == "no animal is seen"
    told = "no masks by sam2 (RuntimeError: out of memory): --avoid sam2 goes without it"
    assert failure(SAM2) == failure(SAM2, EYES, strict=True) == told


def test_faults_of_our_own_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        found_masks((SAM2, Failing("eyes", "builtin", ZeroDivisionError())), FRAMES, None, Place())  # pyright: ignore[reportArgumentType]
