"""The optimisation: repeatable, resumable, and safe when it goes wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from animal4d.body.template import load_builtin_template
from animal4d.clip import Clip
from animal4d.config import FitConfig, Schedule, constant
from animal4d.cues.cues import Cues
from animal4d.errors import Animal4dError
from animal4d.fit.gait import Gait, Swing
from animal4d.fit.objective import Objective
from animal4d.fit.parameters import AnimalParameters
from animal4d.fit.split import split_frames
from animal4d.fit.start import load_start
from animal4d.fit.trainer import FitDiverged, StepReport, Trainer
from animal4d.fit.world import fit_cameras
from animal4d.geometry.cameras import Cameras
from fit.scenes import rest_clip, start_at, turning_views

MODEL = load_builtin_template()
FRAMES = 6
STEPS = 6
CONFIG = replace(
    FitConfig(),
    steps=STEPS,
    batch_frames=3,
    surface_samples=300,
    mask_samples=200,
    checkpoint_every=2,
)


@pytest.fixture(scope="module")
def scene() -> tuple[Clip, Cues]:
    return rest_clip(MODEL, FRAMES, size=64)


def make_trainer(scene: tuple[Clip, Cues], config: FitConfig = CONFIG, steps: int = STEPS, seed: int = 0) -> Trainer:
    """A fit that starts a little beside the truth, with a rhythm so that every group of parameters is there."""
    clip, cues = scene
    origins = torch.tensor([0.06, 0.03, 3.3]).repeat(FRAMES, 1)
    start = start_at(clip, turning_views(FRAMES), origins, torch.zeros(MODEL.n_betas))
    cameras = Cameras(clip.intrinsics, fit_cameras(clip, start), clip.image_size)
    split = split_frames(clip.mask_valid)
    torch.manual_seed(seed)
    parameters = AnimalParameters(
        MODEL,
        start,
        cues.features.pooled,
        torch.arange(FRAMES) * 0.1,
        cameras,
        clip.mask_valid,
    )
    trainer = Trainer(Objective(clip, clip.masks, cues, MODEL, cameras, split, config), parameters, config, steps, seed)
    trainer.take_up(Gait(0.6, Swing(0.0, 0.1, 0.0), Swing(0.0, 0.1, 0.0), 0.0))
    return trainer


def values(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trainer.parameters.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_fit(scene):
    first, second, other = make_trainer(scene), make_trainer(scene), make_trainer(scene, seed=1)
    for trainer in (first, second, other):
        trainer.run()
    assert same(values(first), values(second))
    assert not same(values(first), values(other))


def test_the_loss_falls_and_the_best_state_is_kept(scene):
    trainer = make_trainer(scene, steps=30)
    before = trainer.full_loss()
    reports: list[StepReport] = []
    trainer.run(reports.append)
    assert trainer.full_loss() < before
    scores = [report.validation_iou for report in reports if report.validation_iou is not None]
    assert trainer.best_score == max(scores)
    assert trainer.objective.validation_iou(trainer.best()) == pytest.approx(trainer.best_score)
    assert [report.step for report in reports] == list(range(1, 31))


def test_a_resumed_fit_goes_on_to_identical_numbers(scene, tmp_path):
    straight = make_trainer(scene)
    straight.run()

    class Stop(Exception):
        pass

    def stop_after_three(report: StepReport) -> None:
        if report.step == 3:
            raise Stop

    broken = make_trainer(scene)
    with pytest.raises(Stop):
        broken.run(stop_after_three)
    broken.save(tmp_path / "last.pt")

    resumed = make_trainer(scene, seed=5)
    resumed.load(tmp_path / "last.pt")
    assert resumed.step == 3
    resumed.run()
    assert same(values(resumed), values(straight))
    assert resumed.best_score == straight.best_score
    assert load_start(tmp_path / "last.pt")[0].name == "known"


def test_ctrl_c_leaves_a_checkpoint(scene, tmp_path):
    def interrupt(report: StepReport) -> None:
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_trainer(scene).run(interrupt, tmp_path)
    resumed = make_trainer(scene)
    resumed.load(tmp_path / "last.pt")
    assert resumed.step == 3


def test_a_fit_that_diverges_goes_back_to_its_last_good_state(scene, tmp_path):
    trainer = make_trainer(scene)
    good: dict[str, torch.Tensor] = {}

    def poison(report: StepReport) -> None:
        if report.validation_iou is not None and not good:
            good.update(values(trainer))
        if report.step == 3:
            with torch.no_grad():
                trainer.parameters.root_residuals.fill_(math.nan)

    with pytest.raises(FitDiverged, match="step 3") as raised:
        trainer.run(poison, tmp_path)
    assert "\n" not in str(raised.value)
    assert same(values(trainer), good)
    assert all(bool(value.isfinite().all()) for value in values(trainer).values())
    kept = make_trainer(scene)
    kept.load(tmp_path / "last.pt")
    assert same(values(kept), good)
    assert bool(trainer.best().translation.isfinite().all())


def test_weights_that_are_not_finite_stop_at_once(scene):
    poisoned = replace(CONFIG, weights=replace(CONFIG.weights, silhouette=constant(math.inf)))
    trainer = make_trainer(scene, poisoned)
    before = values(trainer)
    with pytest.raises(FitDiverged, match="silhouette"):
        trainer.run()
    assert same(values(trainer), before)


def test_a_checkpoint_of_another_fit_is_refused(scene, tmp_path):
    make_trainer(scene).save(tmp_path / "last.pt")
    with pytest.raises(Animal4dError, match="6 steps"):
        make_trainer(scene, steps=7).load(tmp_path / "last.pt")
    (tmp_path / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(Animal4dError, match="cannot resume"):
        make_trainer(scene).load(tmp_path / "last.pt")
    with pytest.raises(Animal4dError, match="not a checkpoint"):
        load_start(tmp_path / "last.pt")


def test_every_frame_is_seen_before_any_is_seen_again(scene):
    trainer = make_trainer(scene, replace(CONFIG, batch_frames=2))
    seen = torch.cat([trainer._next_batch(0.0) for _ in range(len(trainer.objective.frames) // 2)])
    assert len(seen.unique()) == len(seen)


@pytest.mark.parametrize(("share", "size"), [(0.0, 2), (0.4, 2), (0.5, 3), (1.0, 6)])
def test_a_step_looks_at_a_share_of_a_longer_clip_once_it_is_time(scene, share, size):
    trainer = make_trainer(scene, replace(CONFIG, batch_frames=2, batch_share=Schedule((0.5,), (0.0, share))))
    assert len(trainer._next_batch(0.4)) == 2
    assert len(trainer._next_batch(0.5)) == size
