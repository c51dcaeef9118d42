"""The command line: one subcommand per file, errors of the user in one line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated, Any

import tyro

from animal4d import __version__
from animal4d.cli.animate import Animate
from animal4d.cli.compare import Compare
from animal4d.cli.data import Data
from animal4d.cli.demo import Demo
from animal4d.cli.doctor import Doctor
from animal4d.cli.evaluate import Evaluate
from animal4d.cli.export import Export
from animal4d.cli.preprocess import Preprocess
from animal4d.cli.reconstruct import Reconstruct
from animal4d.cli.report import Report
from animal4d.cli.synth import Synth
from animal4d.cli.train_eyes import TrainEyes
from animal4d.cli.usage import usage_error
from animal4d.cli.view import View
from animal4d.cli.weights import Weights
from animal4d.errors import Animal4dError

_DESCRIPTION = """From one video of a four-legged animal to an animatable 3D animal, without keypoints.

Start with `animal4d demo`, then `animal4d reconstruct my_dog.mp4 --masks my_dog_masks --out runs/my_dog`.
`animal4d COMMAND --help` explains a command, `animal4d --version` names this version."""
_WRONG_USAGE = 2
_INTERRUPTED = 130

Command = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Report, tyro.conf.subcommand("report")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[View, tyro.conf.subcommand("view")]
    | Annotated[Animate, tyro.conf.subcommand("animate")]
    | Annotated[Preprocess, tyro.conf.subcommand("preprocess")]
    | Annotated[Synth, tyro.conf.subcommand("synth")]
    | Annotated[TrainEyes, tyro.conf.subcommand("train-eyes")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Weights, tyro.conf.subcommand("weights")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `animal4d`. Exits with 1 on an error of the user, with 2 where the arguments themselves are wrong,
    with 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments == ["--version"]:
        print(f"animal4d {__version__}")
        return
    try:
        _command(arguments).run()
    except Animal4dError as error:
        message = " ".join(str(error).split())
        print(f"animal4d: error: {message}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read our output has had enough, as in `animal4d data list ROOT | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        print(f"animal4d: {str(interrupt) or 'interrupted'}", file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _command(arguments: list[str]) -> Any:
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            command = tyro.cli(
                Command,  # pyright: ignore[reportArgumentType]
                prog="animal4d",
                description=_DESCRIPTION,
                args=arguments,
                config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as end:
        wrong = end.code == _WRONG_USAGE
        text = written.getvalue()
        sys.stderr.write(f"animal4d: error: {usage_error(text, arguments)}\n" if wrong else text)
        raise
    sys.stderr.write(written.getvalue())
    return command
