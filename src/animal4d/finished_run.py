"""A finished run, opened for what comes after the fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from animal4d.body.model import BodyModel
from animal4d.config import ASSUMED_BODY_LENGTH
from animal4d.errors import Animal4dError
from animal4d.files.checksums import tensor_checksum
from animal4d.fit.reconstruct import BUILTIN, load_template
from animal4d.fit.reconstruction import Reconstruction
from animal4d.run_folder import RunFolder


@dataclass(frozen=True)
class FinishedRun:
    """What a run found, on the CPU, in units of its template."""

    folder: RunFolder
    record: dict[str, Any]
    """config.yaml."""
    reconstruction: Reconstruction
    model: BodyModel

    @property
    def name(self) -> str:
        return self.folder.path.resolve().name

    @property
    def body_length(self) -> float:
        """Metres from nose to tail base in asset.glb and cameras.json."""
        return float(self.record["request"].get("body_length", ASSUMED_BODY_LENGTH))


def open_finished_run(path: Path) -> FinishedRun:
    """The reconstruction of a run and its template.

    Raises Animal4dError, with what to do, where the folder holds no run, the run is not finished or damaged, or its
    template is not there any more or another one.
    """
    return _opened(path, RunFolder(path).metrics)


def open_fitted_run(path: Path) -> FinishedRun:
    """The same of a run that may not have been measured yet."""
    return _opened(path)


def _opened(path: Path, *more_needed: Path) -> FinishedRun:
    folder = RunFolder(path)
    if not path.is_dir():
        raise Animal4dError(f"{path}: no such run; give the folder that `reconstruct --out` wrote")
    record = folder.read_record()
    for needed in (*more_needed, folder.reconstruction):
        if not needed.is_file():
            raise Animal4dError(
                f"{path} holds a run that is not finished (no {needed.name}); finish it with `reconstruct --resume`"
            )
    try:
        reconstruction = Reconstruction.load(folder.reconstruction).to("cpu")
    except Animal4dError as error:
        raise Animal4dError(
            f"{error}; `reconstruct --resume` writes it anew, `reconstruct --overwrite` starts again"
        ) from error
    template = str(record["config"].get("template", BUILTIN))
    if template != BUILTIN and not Path(template).is_file():
        raise Animal4dError(
            f"{template}: the body model of the run in {path} is not there any more; put it back, or start again with "
            "`reconstruct --overwrite`"
        )
    model = load_template(template).to("cpu")
    check_same_template(model, record, folder)
    _check_fits(reconstruction, model, folder)
    _check_length(record, folder)
    return FinishedRun(folder, record, reconstruction, model)


def template_checksum(model: BodyModel) -> str | None:
    """None for the built-in template: it belongs to the version, which the record has."""
    if model.name == BUILTIN:
        return None
    return tensor_checksum(value for value in vars(model).values() if isinstance(value, torch.Tensor))


def check_same_template(model: BodyModel, record: dict[str, Any], folder: RunFolder) -> None:
    """Raises Animal4dError where a run's template is not what it was when the run began."""
    if template_checksum(model) != record.get("template_checksum"):
        raise Animal4dError(
            f"{record['config'].get('template')}: the body model has changed since the run in {folder.path} began; put "
            "the former one back, or start again with `reconstruct --overwrite`"
        )


def _check_fits(reconstruction: Reconstruction, model: BodyModel, folder: RunFolder) -> None:
    """A run of another version may have been made with another template of the same name."""
    fits = (
        reconstruction.vertex_offsets.shape == (model.n_vertices, 3)
        and reconstruction.joint_rotations.shape[1:] == (model.n_joints, 3, 3)
        and len(reconstruction.betas) <= model.n_betas
        and (reconstruction.vertex_colors is None or len(reconstruction.vertex_colors) == model.n_vertices)
    )
    if not fits:
        raise Animal4dError(
            f"{folder.reconstruction} does not belong to the template {model.name} of this version; start again with "
            "`reconstruct --overwrite`"
        )


def _check_length(record: dict[str, Any], folder: RunFolder) -> None:
    length = record["request"].get("body_length", ASSUMED_BODY_LENGTH)
    if not isinstance(length, int | float):
        raise Animal4dError(f"{folder.record}: body_length is {length!r}; start again with `reconstruct --overwrite`")
