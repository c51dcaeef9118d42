"""Training on samples that cost nothing: its promises about numbers, interruption and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial import KDTree

from animal4d.body.template import load_builtin_template
from animal4d.errors import Animal4dError
from animal4d.eyes.eyes import load_eyes
from animal4d.eyes.training import batches as batches_module
from animal4d.eyes.training.batches import batches, make_batch, mirrored
from animal4d.eyes.training.export import export
from animal4d.eyes.training.losses import view_loss
from animal4d.eyes.training.schedule import plateau_end, rate
from animal4d.eyes.training.surface_targets import farthest_points, surface_graph, surface_targets
from animal4d.eyes.training.trainer import CHECKPOINT, CURVE, StepReport, TrainingConfig, read_curve, train
from animal4d.eyes.training.validation import leg_side_share, part_overlaps
from cli.commands import animal4d
from eyes.fake_samples import fake_sample

TINY = TrainingConfig(steps=6, init="scratch", fresh=1, replay=2, validation_batches=1, validate_every=3)


@pytest.fixture(autouse=True)
def _fake_samples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(batches_module, "make_sample", fake_sample)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_mirror_swaps_the_sides() -> None:
    model, mirror = load_builtin_template(), surface_targets().mirror
    batch = make_batch([fake_sample(0, index) for index in range(6)])
    other = mirrored(batch, mirror)
    again = mirrored(other, mirror)
    for name in ("input", "parts", "foreground", "vertex", "view"):
        torch.testing.assert_close(getattr(again, name), getattr(batch, name))
    # Labels and vertices go on agreeing, and a vertex lies across the plane of symmetry from where it lay.
    seen = other.vertex >= 0
    assert torch.equal(1 + model.part_labels[other.vertex[seen]], other.parts[seen])
    across = model.v_template * torch.tensor((1.0, -1.0, 1.0))
    torch.testing.assert_close(model.v_template[mirror], across, rtol=0, atol=1e-5)


def test_batches_are_the_same_wherever_one_starts() -> None:
    whole = list(batches(3, 2, 0, 4, processes=0))
    later = list(batches(3, 2, 2, 4, processes=0))
    assert len(whole) == 4
    assert torch.equal(whole[3].input, later[1].input)
    assert not torch.equal(whole[3].input, whole[2].input)


def test_distances_along_a_flat_grid_are_nearly_straight() -> None:
    side = 15
    x, y = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    vertices = np.stack((x, y, np.zeros_like(x)), axis=-1).reshape(-1, 3).astype(float)
    number = np.arange(side * side).reshape(side, side)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    chosen, distances = farthest_points(surface_graph(vertices, faces), 4)
    straight = np.linalg.norm(vertices[chosen][:, None] - vertices[None], axis=-1)
    # Steps go in the directions 0, 45 and 90 degrees and a few steeper ones: at most 1 / cos(22.5 degrees) too long.
    assert (distances >= straight - 1e-9).all()
    assert (distances <= 1.083 * straight + 1e-9).all()
    assert KDTree(vertices[chosen]).query(vertices)[0].max() <= side  # every corner but one has its anchor near


def test_surface_targets_are_nearest_at_their_own_vertex() -> None:
    surface = surface_targets()
    torch.testing.assert_close(surface.targets.sum(1), torch.ones(len(surface.targets)))
    own = torch.arange(len(surface.anchors))
    assert torch.equal(surface.targets[surface.anchors].argmax(1), own)
    assert surface.distances[surface.anchors, own].abs().max() == 0
    assert surface.distances.min(1).values.max() < 0.05  # body lengths


@given(steps=st.integers(500, 20_000), longer=st.integers(1, 20_000))
def test_the_plateau_does_not_depend_on_the_steps(steps: int, longer: int) -> None:
    for step in (0, 10, plateau_end(steps) - 1):
        assert rate(step, steps) == rate(step, steps + longer)
    falling = [rate(step, steps) for step in range(plateau_end(steps), steps)]
    assert all(later < earlier for earlier, later in pairwise(falling))
    assert 0 < falling[-1] < 1e-3


def test_the_view_loss_is_least_at_the_true_view() -> None:
    from animal4d.eyes.network import view_directions

    true = torch.nn.functional.normalize(torch.tensor([[0.3, 0.9, 0.2]]), dim=-1)
    losses = [
        view_loss(20.0 * view @ view_directions().T, true)
        for view in (true, torch.nn.functional.normalize(torch.tensor([[0.6, 0.7, 0.2]]), dim=-1), -true)
    ]
    assert losses[0] < losses[1] < losses[2]


def test_measures_of_parts_by_hand() -> None:
    labels = torch.tensor([[[0, 4, 4, 5, 1, 1]]])
    seen = torch.tensor([[[0, 4, 5, 5, 1, 0]]])
    overlaps = part_overlaps(seen, labels)
    assert overlaps["head"] == 0.5 and overlaps["front_left_leg"] == 0.5 and overlaps["front_right_leg"] == 0.5
    assert overlaps["tail"].isnan()
    assert leg_side_share(seen, labels) == pytest.approx(2 / 3)


def test_an_interrupted_training_goes_on_to_identical_numbers(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    whole = train(TINY, tmp_path / "whole", processes=0, report=reports.append)

    def stop(done: StepReport) -> None:
        if done.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="--resume"):
        # Every step leaves a checkpoint; the one of the third step is not written any more.
        train(TINY, tmp_path / "parts", processes=0, checkpoint_seconds=0.0, report=stop)
    parts = train(TINY, tmp_path / "parts", resume=True, processes=0)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    curves = [[(e["step"], e["losses"]) for e in read_curve(tmp_path / run / CURVE)] for run in ("whole", "parts")]
    assert curves[0] == curves[1]
    assert [step for step, _ in curves[0]] == [1, 2, 3, 4, 5, 6]
    assert [done.metrics is not None for done in reports] == [False, False, True, False, False, True]

    written = export(tmp_path / "parts")
    assert all(path.is_file() for path in written)
    assert Image.open(written[2]).size[0] > 0
    eyes = load_eyes(written[0])
    assert eyes.training["config"]["seed"] == 0 and eyes.training["steps_done"] == 6
    assert "animal4d train-eyes --steps 6 --seed 0 --init scratch" in written[1].read_text()
    with torch.no_grad():
        torch.testing.assert_close(eyes.vertex_embeddings, parts.embedding(), rtol=0, atol=2e-3)

    with pytest.raises(Animal4dError, match="seed"):
        train(replace(TINY, seed=1), tmp_path / "parts", resume=True, processes=0)
    with pytest.raises(Animal4dError, match="rate already falls"):
        train(replace(TINY, steps=9), tmp_path / "parts", resume=True, processes=0)
    with pytest.raises(Animal4dError, match="already holds a training run"):
        train(TINY, tmp_path / "parts", processes=0)


def test_it_learns(tmp_path: Path) -> None:
    config = replace(TINY, steps=14, fresh=2, validate_every=14)
    done: list[StepReport] = []
    train(config, tmp_path / "run", processes=0, report=done.append)
    assert np.mean([d.losses["total"] for d in done[-4:]]) < 0.85 * done[0].losses["total"]
    assert np.isfinite(list(done[-1].losses.values())).all()
    assert done[-1].metrics is not None and done[-1].metrics["surface_error"] <= surface_targets().distances.max()


def test_samples_without_an_animal_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(seed: int, index: int) -> object:
        sample = fake_sample(seed, index)
        sample.parts[:], sample.foreground[:], sample.vertex[:] = 0, 0, -1
        return sample

    monkeypatch.setattr(
        batches_module, "make_sample", lambda seed, index: empty(seed, index) if seed == 0 else fake_sample(seed, index)
    )
    train(replace(TINY, steps=2), tmp_path / "run", processes=0)


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    outcome = animal4d("train-eyes", "--steps", "5", "--out", run, "--resume")
    assert outcome.status == 1 and outcome.err.splitlines()[-1].startswith("animal4d: error:")
    assert "no such file" in outcome.err
    outcome = animal4d("train-eyes", "--steps", "0", "--out", run)
    assert outcome.status == 1 and "--steps and --fresh must be at least 1" in outcome.err
    run.mkdir()
    (run / CHECKPOINT).write_bytes(b"damaged")
    outcome = animal4d("train-eyes", "--steps", "5", "--out", run, "--export-only")
    assert outcome.status == 1 and "not a checkpoint" in outcome.err


def test_the_curve_survives_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "curve.jsonl"
    path.write_text(json.dumps({"step": 1, "losses": {"total": 1.0}}) + '\n{"step": 2, "lo')
    assert [entry["step"] for entry in read_curve(path)] == [1]
