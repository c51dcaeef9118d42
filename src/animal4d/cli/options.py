"""Types of options that need not be given: the help shows what to give, not "None"."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
OptionalInt = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")]
OptionalFloat = Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")]
OptionalPoint = Annotated[str | None, tyro.conf.arg(metavar="X,Y", help_behavior_hint="")]
Uses = Annotated[tuple[str, ...], tyro.conf.arg(metavar="[CUE=PROVIDER [...]]", help_behavior_hint="")]
Avoided = Annotated[tuple[str, ...], tyro.conf.arg(metavar="[PROVIDER [...]]", help_behavior_hint="")]
OptionalBox = Annotated[str | None, tyro.conf.arg(metavar="X,Y,W,H", help_behavior_hint="")]
