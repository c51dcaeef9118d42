"""Builds the template and writes the shipped file."""

from __future__ import annotations

import argparse
from pathlib import Path

from animal4d.body.builder.build import build, write


def main() -> None:
    """Entry point of ``python -m animal4d.body.builder``."""
    parser = argparse.ArgumentParser(description="Build the built-in template (about a minute).")
    shipped = Path(__file__).parents[1] / "data" / "builtin.npz"
    parser.add_argument("--out", type=Path, default=shipped, help="file to write (default: the shipped one)")
    out = parser.parse_args().out
    write(build(print), out)
    print(f"wrote {out} ({out.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
