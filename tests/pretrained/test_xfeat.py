"""XFeat against the implementation that its wheel brings, and files that are not its weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from animal4d.errors import Animal4dError
from animal4d.pretrained.xfeat import XFeatNetwork, load_xfeat, require_xfeat_weights, xfeat_weights


def published_module() -> ModuleType:
    """The wheel's own network, from its file: importing the package would import kornia."""
    weights = xfeat_weights()
    assert weights is not None
    spec = importlib.util.spec_from_file_location("published_xfeat", weights.parents[1] / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def test_it_is_the_published_network() -> None:
    published = published_module().XFeatModel().eval()
    published.load_state_dict(torch.load(require_xfeat_weights(), weights_only=True))
    images = 255 * torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    features, _, reliability = published(images)
    ours, our_reliability = load_xfeat(require_xfeat_weights())(images)
    torch.testing.assert_close(ours, torch.nn.functional.normalize(features, dim=1), atol=1e-6, rtol=0)
    torch.testing.assert_close(our_reliability, reliability, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(2, 12, 20))


def test_sides_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        XFeatNetwork()(torch.zeros(1, 3, 96, 100))


def test_a_missing_wheel_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert xfeat_weights() is None
    with pytest.raises(Animal4dError, match=r"animal4d\[pretrained\]"):
        require_xfeat_weights()


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("/tmp/animal4d-was-executed"),)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["missing", "truncated", "not torch", "other network", "other shape", "hostile"])
def test_files_that_are_not_its_weights(tmp_path: Path, kind: str) -> None:
    path, mark = tmp_path / "xfeat.pt", Path("/tmp/animal4d-was-executed")
    state: dict[str, object] = dict(XFeatNetwork().state_dict())
    if kind == "other network":
        state = {"weight": torch.zeros(3)}
    if kind == "other shape":
        state["skip1.1.weight"] = torch.zeros(24, 3, 1, 1)
    if kind == "hostile":
        state["skip1.1.weight"] = Hostile()
    if kind != "missing":
        torch.save(state, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    if kind == "not torch":
        path.write_bytes(b"<html>not found</html>")
    with pytest.raises(Animal4dError, match=r"xfeat\.pt") as error:
        load_xfeat(path)
    assert "\n" not in str(error.value) and not mark.exists()
