"""A finished run, opened for what comes after the fit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from animal4d.body.model import BodyModel
from animal4d.errors import Animal4dError
from animal4d.files.checksums import tensor_checksum
from animal4d.fit.reconstruct import BUILTIN, load_template
from animal4d.fit.reconstruction import Reconstruction
from animal4d.run_folder import RunFolder


@dataclass(frozen=True)
class FinishedRun:
    folder: RunFolder
    reconstruction: Reconstruction
    model: BodyModel

    @property
    def name(self) -> str:
        return self.folder.path.resolve().name


def open_finished_run(path: Path) -> FinishedRun:
    """The reconstruction of a run and its template.

    Raises Animal4dError where the folder holds no run, the run is not finished or damaged, or its template is not there
    any more or another one.
    """
    folder = RunFolder(path)
    if not path.is_dir():
        raise Animal4dError(f"{path}: no such folder of a run")
    record, config = folder.read_record(), folder.recorded_config()
    if not folder.metrics.is_file() or not folder.reconstruction.is_file():
        raise Animal4dError(f"{path} holds an unfinished run; `animal4d reconstruct ... --out {path} --resume` ends it")
    reconstruction = Reconstruction.load(folder.reconstruction)
    model = load_template(config.template)
    if model.name != BUILTIN and _checksum(model) != record.get("template_checksum"):
        raise Animal4dError(f"{config.template}: the body model has changed since the run in {path}; put it back")
    _check_fits(reconstruction, model, folder)
    return FinishedRun(folder, reconstruction, model)


def _checksum(model: BodyModel) -> str:
    return tensor_checksum(value for value in vars(model).values() if isinstance(value, torch.Tensor))


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
            f"{folder.reconstruction} does not belong to the template {model.name} of this version; reconstruct the "
            "clip again with --overwrite"
        )
