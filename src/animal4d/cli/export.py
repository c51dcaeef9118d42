"""`animal4d export`: a finished run in the format that a program reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from animal4d.cli.options import OptionalFloat, OptionalPath
from animal4d.config import ASSUMED_BODY_LENGTH
from animal4d.errors import Animal4dError

if TYPE_CHECKING:
    from animal4d.body.model import BodyModel
    from animal4d.finished_run import FinishedRun
    from animal4d.fit.reconstruction import Reconstruction
    from animal4d.texture.bake import BakedTexture

Format = Literal["glb", "gltf", "usd", "usdz", "obj", "ply", "npz"]
_SUFFIXES = {
    "glb": (".glb",),
    "gltf": (".gltf",),
    "usd": (".usd", ".usda", ".usdc"),
    "usdz": (".usdz",),
    "npz": (".npz",),
}
"""Of formats that are one file; the others are a folder with a file per frame."""


@dataclass(frozen=True)
class Export:
    """Write a finished run as glTF, USD, meshes or AMASS-like motion, in metres. docs/formats.md explains the files.

    Example: animal4d export runs/my_dog --format usdz --body-length 0.6
    """

    run_folder: tyro.conf.Positional[Path]
    """A finished run."""
    format: Format
    """glb, gltf: skinned and animated. usd, usdz: the same with the camera; needs usd-core. obj, ply: a mesh per frame.
    npz: the motion in AMASS's layout."""
    out: OptionalPath = None
    """File, or folder for obj and ply (default: in the folder `export` of the run)."""
    body_length: OptionalFloat = None
    """Metres from nose to tail base (default: that of the run, which is 0.75 where nothing was said)."""
    camera: bool = False
    """Put the camera path into glb or gltf, too. usd has it always."""
    fps: OptionalFloat = None
    """Resample motion and camera to so many frames per second (default: the frames of the run)."""

    def run(self) -> None:
        from animal4d.export.scale import in_metres, metres_per_unit
        from animal4d.finished_run import open_finished_run

        if self.camera and self.format not in ("glb", "gltf", "usd", "usdz"):
            raise Animal4dError(f"--camera: --format {self.format} has no camera; the path is in cameras.json")
        run = open_finished_run(self.run_folder)
        out = self._out(run)
        length = run.body_length if self.body_length is None else self.body_length
        reconstruction = self._at_rate(run.reconstruction)
        metric, model = in_metres(reconstruction, run.model, length)
        notes = []
        if self._assumed(length):
            notes.append(f"{length:g} m from nose to tail base is assumed; --body-length says how large it is")
        if self.format == "npz":
            from animal4d.export.interchange import write_interchange

            written = write_interchange(
                reconstruction, run.model, out, metres_per_unit(reconstruction, run.model, length)
            )
        else:
            written, more = self._write(run, metric, model, out, length)
            notes += more
        _print(written, notes)

    def _assumed(self, length: float) -> bool:
        """Whether nobody said how large the animal is, neither here nor to the run."""
        return self.body_length is None and length == ASSUMED_BODY_LENGTH

    def _out(self, run: FinishedRun) -> Path:
        suffixes = _SUFFIXES.get(self.format)
        if self.out is None:
            name = run.name + ("_motion" if self.format == "npz" else "")
            return run.folder.path / "export" / (f"{name}{suffixes[0]}" if suffixes else f"{name}_{self.format}")
        if suffixes is None and self.out.suffix == f".{self.format}":
            raise Animal4dError(f"--out {self.out}: --format {self.format} is a file per frame; give a folder")
        if suffixes is not None and self.out.suffix not in suffixes:
            raise Animal4dError(f"--out {self.out}: --format {self.format} needs a name in {' or '.join(suffixes)}")
        if suffixes is not None and self.out.is_dir():
            raise Animal4dError(f"--out {self.out}: a folder of that name is there; give the name of a file")
        if self.out.exists() and self.out.resolve().parent == run.folder.path.resolve():
            raise Animal4dError(f"--out {self.out}: that is a file of the run itself; give another name")
        return self.out

    def _at_rate(self, reconstruction: Reconstruction) -> Reconstruction:
        from animal4d.export.resample import resampled
        from animal4d.export.rig import check_times

        if self.fps is None:
            return reconstruction
        check_times(reconstruction, self.run_folder)
        return resampled(reconstruction, self.fps)

    def _write(
        self, run: FinishedRun, reconstruction: Reconstruction, model: BodyModel, out: Path, length: float
    ) -> tuple[tuple[Path, ...], list[str]]:
        """The files, and what they cannot hold."""
        from animal4d.export.meshes import write_obj_sequence, write_ply_sequence
        from animal4d.export.texture import read_texture
        from animal4d.export.usd import write_usd

        texture = None if self.format == "ply" else read_texture(run.folder.path, run.model)
        if self.format == "obj":
            return write_obj_sequence(reconstruction, model, out, texture), []
        if self.format == "ply":
            return write_ply_sequence(reconstruction, model, out), []
        if self.format in ("usd", "usdz"):
            lacking = model.pose_correctives is not None
            notes = ["pose correctives are left out: a skeleton has no place for them"] if lacking else []
            comment = f"Made of the run {run.name}; {length:g} m from nose to tail base."
            return write_usd(reconstruction, model, out, texture, comment), notes
        return self._write_gltf(run, reconstruction, model, out, texture, length)

    def _write_gltf(
        self,
        run: FinishedRun,
        reconstruction: Reconstruction,
        model: BodyModel,
        out: Path,
        texture: BakedTexture | None,
        length: float,
    ) -> tuple[tuple[Path, ...], list[str]]:
        from animal4d.export.glb import glb_bytes
        from animal4d.export.gltf_files import with_camera, with_extras, write_gltf
        from animal4d.export.keyframes import BOUND
        from animal4d.files.atomic import write_bytes

        glb, summary = glb_bytes(reconstruction, model, out, texture, BOUND)
        notes = list(summary.notes)
        if self.camera:
            glb, lost = with_camera(glb, reconstruction)
            notes += lost
        record = {"run": run.name, "template": reconstruction.template, "frames": len(reconstruction)}
        size = {"body_length": length, "body_length_assumed": self._assumed(length)}
        glb = with_extras(glb, {**record, "fps": reconstruction.fps, **size})
        if self.format == "gltf":
            return write_gltf(glb, out), notes
        write_bytes(out, glb)
        return (out,), notes


def _print(written: tuple[Path, ...], notes: list[str]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title="written", title_justify="left", title_style="bold", show_header=False)
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    frames = [path for path in written if path.name.startswith("frame_")]
    if frames:
        table.add_row(escape(f"{frames[0]} ... {frames[-1].name}"), _size(frames))
    for path in written:
        if path not in frames:
            table.add_row(escape(str(path)), _size([path]))
    console.print(table)
    for note in notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)


def _size(paths: list[Path]) -> str:
    size = sum(path.stat().st_size for path in paths)
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
