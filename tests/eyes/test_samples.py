"""Synthetic training samples: the same for the same numbers, and their labels true of what is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("skimage", reason="the backgrounds need the build extra")

from animal4d.body.model import PART_NAMES
from animal4d.body.template import load_species_betas
from animal4d.eyes.labels import CROP, MAP
from animal4d.eyes.training import poses, samples
from animal4d.eyes.training.animals import Animal, draw_animal, pose_animal, template_arrays
from animal4d.eyes.training.contact_sheet import write_contact_sheet
from animal4d.eyes.training.degradations import UNKNOWN, degrade_mask
from animal4d.eyes.training.poses import draw_pose, rotations_of
from animal4d.eyes.training.samples import Sample, make_sample, reduce_labels
from animal4d.eyes.training.shading import FINE, draw_raster
from animal4d.eyes.training.views import View, draw_view, look_at, view_vector

SEED = 5
N_VERTICES = 3889


@pytest.fixture(scope="module")
def some() -> list[Sample]:
    return [make_sample(SEED, index) for index in range(24)]


def _standing(species: str = "labrador", yaw: float = 0.0) -> Animal:
    vectors = np.zeros((35, 3))
    vectors[0, 2] = yaw
    betas = load_species_betas()[species].numpy()
    return pose_animal(betas, np.zeros(7), np.zeros((N_VERTICES, 3)), rotations_of(vectors))


def _seen_from(animal: Animal, towards: tuple[float, float, float]) -> View:
    middle = 0.5 * (animal.vertices.min(0) + animal.vertices.max(0))
    center = middle + 6 * np.array(towards)
    intrinsics = np.array([[550.0, 0, CROP / 2], [0, 550.0, CROP / 2], [0, 0, 1]])
    return View(look_at(center, middle), center, intrinsics, (0, 0, CROP, CROP))


def _labels(animal: Animal, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    raster = draw_raster(animal, view)
    alpha = (raster.label > 0).reshape(CROP, 2, CROP, 2).mean((1, 3)).astype(np.float32)
    return reduce_labels(raster, alpha, np.ones((FINE, FINE), bool))


def _column(parts: np.ndarray, name: str) -> float:
    """Mean column of a part's map pixels."""
    return float(np.nonzero(parts == 1 + PART_NAMES.index(name))[1].mean())


def _area(parts: np.ndarray, name: str) -> int:
    return int((parts == 1 + PART_NAMES.index(name)).sum())


def test_a_sample_follows_from_its_numbers_whatever_was_made_before(some: list[Sample]):
    for pool in (samples._warps, samples._others, poses._gait_poses):
        pool.cache_clear()
    for index in (17, 3):
        again = make_sample(SEED, index)
        for field in vars(again):
            np.testing.assert_array_equal(getattr(again, field), getattr(some[index], field), err_msg=field)


def test_samples_differ(some: list[Sample]):
    images = np.stack([sample.image for sample in some])
    assert len(np.unique(images.reshape(len(some), -1), axis=0)) == len(some)
    assert not np.array_equal(make_sample(SEED, 0).image, make_sample(SEED, 1).image)


def test_fields_have_the_shapes_and_ranges_that_the_network_is_fed_with(some: list[Sample]):
    for sample in some:
        assert (sample.image.shape, sample.image.dtype) == ((CROP, CROP, 3), np.uint8)
        assert (sample.mask_input.shape, sample.mask_input.dtype) == ((CROP, CROP), np.uint8)
        assert set(np.unique(sample.mask_input)) <= {0, 255} or (sample.mask_input == UNKNOWN).all()
        assert (sample.parts.shape, sample.parts.dtype) == ((MAP, MAP), np.uint8)
        assert sample.parts.max() <= len(PART_NAMES)
        assert (sample.foreground.shape, sample.foreground.dtype) == ((MAP, MAP), np.float16)
        assert sample.foreground.min() >= 0 and sample.foreground.max() <= 1
        assert (sample.vertex.shape, sample.vertex.dtype) == ((MAP, MAP), np.int16)
        assert sample.vertex.min() >= -1 and sample.vertex.max() < N_VERTICES
        assert sample.view.dtype == np.float32
        assert np.linalg.norm(sample.view) == pytest.approx(1, abs=1e-5)
        assert sample.image.std() > 1


def test_labels_of_a_sample_agree(some: list[Sample]):
    part_of_vertex = template_arrays().part
    parts = np.stack([sample.parts for sample in some])
    foreground = np.stack([sample.foreground for sample in some])
    vertex = np.stack([sample.vertex for sample in some])
    # A frayed outline and soft occluders move the coverage by a pixel or so, never a whole part.
    assert (foreground[parts > 0] > 0.5).mean() > 0.95
    assert (foreground[parts == 0] < 0.5).mean() > 0.99
    both = (vertex >= 0) & (parts > 0)
    assert both.sum() > 0.95 * (parts > 0).sum()
    # The pixel's centre and its majority differ where parts meet.
    assert (part_of_vertex[vertex[both]] == parts[both]).mean() > 0.93


def test_a_known_mask_shows_about_the_animal(some: list[Sample]):
    overlaps = []
    for sample in some:
        if (sample.mask_input != UNKNOWN).all():
            mask = (sample.mask_input > 0).reshape(MAP, 4, MAP, 4).mean((1, 3)) > 0.5
            animal = sample.foreground > 0.5
            overlaps.append((mask & animal).sum() / (mask | animal).sum())
    assert 0.3 * len(some) < len(overlaps) < len(some)
    assert np.median(overlaps) > 0.8


def test_masks_are_now_unknown_now_perfect_now_wrong():
    animal = np.zeros((CROP, CROP), bool)
    animal[60:130, 40:160] = True
    label = np.where(animal, 4, 0).astype(np.uint8)
    masks = [degrade_mask(np.random.default_rng(k), animal, label, np.zeros_like(animal)) for k in range(300)]
    unknown = np.mean([(mask == UNKNOWN).all() for mask in masks])
    perfect = np.mean([np.array_equal(mask > 0, animal) and mask.max() == 255 for mask in masks])
    assert unknown == pytest.approx(0.4, abs=0.1)
    assert 0.08 < perfect < 0.35


def test_the_animals_left_legs_are_near_when_it_is_seen_from_its_left():
    animal = _standing()
    view = _seen_from(animal, (0, 1, 0))
    parts, _, _ = _labels(animal, view)
    # Seen from its left the animal heads to the left of the picture.
    assert _column(parts, "head") < _column(parts, "torso") < _column(parts, "tail")
    assert _area(parts, "front_left_leg") > 2 * _area(parts, "front_right_leg")
    assert _area(parts, "back_left_leg") > 2 * _area(parts, "back_right_leg")
    np.testing.assert_allclose(view_vector(animal, view.center), (0, 1, 0), atol=0.05)


def test_the_animals_left_is_on_the_right_of_a_picture_from_the_front():
    animal = _standing()
    parts, _, _ = _labels(animal, _seen_from(animal, (1, 0, 0)))
    assert _column(parts, "front_left_leg") > _column(parts, "front_right_leg") + 2


def test_the_view_is_that_of_the_animals_own_frame():
    animal = _standing(yaw=np.pi / 2)  # heads along +y: a camera at +x is on its right
    view = _seen_from(animal, (1, 0, 0))
    np.testing.assert_allclose(view_vector(animal, view.center), (0, -1, 0), atol=0.05)


@given(azimuth=st.floats(-3.1, 3.1), elevation=st.floats(-0.3, 1.2))
@settings(max_examples=25, deadline=None)
def test_views_name_azimuth_and_elevation(azimuth: float, elevation: float):
    animal = _standing()
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    np.testing.assert_allclose(view_vector(animal, animal.trunk + 4 * direction), direction, atol=1e-4)


def test_coverage_of_an_unhidden_animal_is_its_silhouette():
    animal = _standing("horse")
    view = _seen_from(animal, (0.3, -1, 0.2))
    parts, foreground, vertex = _labels(animal, view)
    covered = draw_raster(animal, view).label > 0
    expected = covered.reshape(MAP, FINE // MAP, MAP, FINE // MAP).mean((1, 3))
    np.testing.assert_allclose(foreground, expected, atol=1e-3)  # float16
    np.testing.assert_array_equal(parts > 0, expected >= 0.5)
    # A labelled vertex projects to its map pixel, up to half the length of an edge.
    rows, columns = np.nonzero(vertex >= 0)
    at = view.to_camera(animal.vertices[vertex[rows, columns]]) @ view.intrinsics.T
    offset = at[:, :2] / at[:, 2:] - 4 * np.stack((columns, rows), axis=1) - 2
    assert np.median(np.abs(offset)) < 2
    assert np.abs(offset).max() < 10


def test_crops_hold_the_visible_animal():
    for number in range(12):
        rng = np.random.default_rng(number)
        animal = draw_animal(rng, SEED)
        view = draw_view(rng, animal)
        at = view.to_camera(animal.vertices) @ view.intrinsics.T
        at = at[:, :2] / at[:, 2:]
        left, top, right, bottom = view.frame
        if (left, top, right, bottom) == (0, 0, CROP, CROP) and (np.ptp(at, axis=0) < CROP).all():
            assert 0.45 * CROP < np.ptp(at, axis=0).max() < CROP
        assert ((at > (left, top)) & (at < (right, bottom))).all(1).mean() > 0.3


def test_poses_are_rotations_and_keep_the_heading():
    for number in range(40):
        pose = draw_pose(np.random.default_rng(number), SEED)
        np.testing.assert_allclose(pose @ pose.transpose(0, 2, 1), np.broadcast_to(np.eye(3), pose.shape), atol=1e-5)
        ahead = pose[0, :, 0]
        assert abs(np.arctan2(ahead[1], max(np.hypot(ahead[0], ahead[2]), 1e-9))) < np.radians(30)


def test_the_contact_sheet_holds_image_and_labels_of_every_sample(tmp_path):
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, SEED, count=3, columns=2)
    with Image.open(path) as sheet:
        assert sheet.size == (4 * CROP, 2 * CROP)
