"""Settings: out to YAML and back, and what is said about wrong ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from animal4d.config import Config, FitConfig, LossWeights, Schedule, constant, from_dict, load_config, to_dict
from animal4d.errors import Animal4dError


def test_round_trip_through_yaml(tmp_path):
    weights = LossWeights(tracks=Schedule((0.2, 0.7), (1.0, 2.0, 0.0)), arap=constant(3.0))
    config = Config(seed=7, device="cpu", fit=FitConfig(steps=12, weights=weights))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_dict(config)))
    assert load_config(path) == config


def test_only_what_differs_need_be_said(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("fit:\n  steps: 9\n")
    assert load_config(path) == replace(Config(), fit=replace(FitConfig(), steps=9))


def test_the_record_of_a_run_is_read_as_well(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"versions": {"animal4d": "0"}, "config": to_dict(Config(seed=3))}))
    assert load_config(path).seed == 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("fit: {stepz: 3}", "stepz"),
        ("colour: red", "colour"),
        ("fit: {weights: {silhouete: 1}}", "silhouete"),
        ("fit: {steps: many}", "fit.steps"),
        ("fit: 3", "fit"),
        ("- a\n- b", "mapping"),
        ("fit: {weights: {arap: {boundaries: [0.5], values: [1.0]}}}", "one value more"),
        ("{", "YAML"),
    ],
)
def test_wrong_settings_are_named(tmp_path, text, named):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(Animal4dError, match=named) as raised:
        load_config(path)
    assert "\n" not in str(raised.value)


def test_missing_file(tmp_path):
    with pytest.raises(Animal4dError, match=r"none\.yaml"):
        load_config(tmp_path / "none.yaml")


@settings(deadline=None)
@given(progress=st.floats(0, 1))
def test_a_schedule_is_piecewise_constant(progress):
    schedule = Schedule((0.25, 0.75), (1.0, 2.0, 3.0))
    assert schedule.at(progress) == (1.0 if progress < 0.25 else 2.0 if progress < 0.75 else 3.0)


def test_boundaries_ascend():
    with pytest.raises(Animal4dError, match="ascend"):
        Schedule((0.5, 0.2), (1.0, 2.0, 3.0))


def test_lists_become_tuples():
    schedule = from_dict(Schedule, {"boundaries": [0.5], "values": [1.0, 2.0]})
    assert schedule == Schedule((0.5,), (1.0, 2.0))
