"""Runs side by side: what is best, what differs, and the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from animal4d.errors import Animal4dError
from animal4d.report.compare import compare_runs, write_comparison
from animal4d.run_folder import RunFolder
from cli.commands import animal4d, error_line
from report.runs import change_metrics, copy_of, walking, write_run


@pytest.fixture(scope="module")
def two(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    folder = tmp_path_factory.mktemp("two")
    first, second = copy_of(finished_run, folder / "a"), write_run(folder / "b", walking(10), iou=0.8, seed=4)
    change_metrics(first, jitter={"unit": "x", "mean": 0.02, "test": 0.02})
    change_metrics(second, jitter={"unit": "x", "mean": 0.01, "test": 0.01})
    return [first, second]


def test_the_best_is_marked_by_the_metrics_own_direction(two: list[RunFolder]):
    compared, _ = compare_runs(two)
    best = {entry.metric.key: entry.best for entry in compared.metrics}
    assert best["iou"] == (True, False) and best["jitter"] == (False, True)
    assert best["psnrm"] == (False, False)  # alike
    assert "vertex_error" not in best  # nobody has it
    assert compared.part == "test" and compared.names == ("a", "b")


def test_exactly_the_differing_settings_are_listed(two: list[RunFolder]):
    compared, _ = compare_runs(two)
    assert dict(compared.settings) == {"seed": ("0", "4")}


def test_page_and_table(two: list[RunFolder], tmp_path: Path):
    outcome = animal4d("compare", *(folder.path for folder in two), "--out", tmp_path / "page")
    assert outcome.status == 0, outcome.err
    assert "* 95.0 %" in outcome.out and "seed" in outcome.out
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count('class="compare"') == page.count('class="stage"') == 2
    assert '<span class="best">95.0 %</span>' in page
    assert animal4d("compare", *(folder.path for folder in two), "--out", tmp_path / "page").status == 0


def test_runs_of_one_name_are_told_apart(two: list[RunFolder], tmp_path: Path):
    other = copy_of(two[0], tmp_path / "other" / "a")
    compared, _ = compare_runs([two[0], other])
    assert compared.names[0] != compared.names[1] and compared.names[1] == "other/a"


def test_one_run_and_pages_of_others_are_refused(two: list[RunFolder], tmp_path: Path):
    with pytest.raises(Animal4dError, match="give at least two runs, got 1"):
        compare_runs(two[:1])
    (tmp_path / "index.html").write_text("<html>mine</html>")
    with pytest.raises(Animal4dError, match="not written by animal4d"):
        write_comparison(*compare_runs(two), tmp_path)
    assert (tmp_path / "index.html").read_text() == "<html>mine</html>"


def test_a_place_that_is_a_file_is_refused_before_the_work(tmp_path: Path):
    (tmp_path / "page").touch()
    for out in (tmp_path / "page", tmp_path / "page" / "below"):
        assert f"{tmp_path / 'page'} is a file" in error_line(animal4d("compare", "a", "b", "--out", out))
    assert "give at least two runs, got none" in error_line(animal4d("compare"))
