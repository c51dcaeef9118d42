"""The command line: one subcommand per file, errors of the user in one line."""

from __future__ import annotations

import sys
from typing import Annotated

import tyro

from animal4d.cli.demo import Demo
from animal4d.cli.doctor import Doctor
from animal4d.cli.evaluate import Evaluate
from animal4d.cli.reconstruct import Reconstruct
from animal4d.cli.synth import Synth
from animal4d.errors import Animal4dError

Command = (
    Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    | Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Synth, tyro.conf.subcommand("synth")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Doctor, tyro.conf.subcommand("doctor")]
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `animal4d`. Exits with 1 on an error of the user, with 130 when interrupted."""
    command = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="animal4d",
        description="From one video of a four-legged animal to an animatable 3D animal, without keypoints.",
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes,),
    )
    try:
        command.run()
    except Animal4dError as error:
        message = " ".join(str(error).split())
        print(f"animal4d: error: {message}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("animal4d: interrupted", file=sys.stderr)
        sys.exit(130)
