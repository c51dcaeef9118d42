"""The colour loss, and the refusal of LPIPS where it is not at hand."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from animal4d.errors import Animal4dError
from animal4d.evaluate.image import ssim
from animal4d.losses.color import color_loss, load_lpips


@pytest.fixture
def pictures() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn, filmed = torch.rand(2, 3, 20, 24, 3, generator=generator)
    masks = torch.zeros(3, 20, 24)
    masks[:, 4:16, 5:20] = 1.0
    return drawn * masks[..., None], filmed, masks


def test_is_l1_and_structural_similarity_over_the_mask(pictures):
    drawn, filmed, masks = pictures
    target = filmed * masks[..., None]
    absolute = (drawn - target).abs().sum((1, 2, 3)) / (3 * masks.sum((1, 2)))
    unlike = (1 - ssim(drawn, target)) / 2 * masks[0].numel() / masks.sum((1, 2))
    torch.testing.assert_close(color_loss(drawn, filmed, masks), 0.8 * absolute + 0.2 * unlike)
    assert color_loss(target, filmed, masks).abs().max() < 1e-5


def test_what_is_filmed_beyond_the_mask_does_not_count(pictures):
    drawn, filmed, masks = pictures
    other = torch.where(masks[..., None] > 0, filmed, 1 - filmed)
    assert torch.equal(color_loss(drawn, filmed, masks), color_loss(drawn, other, masks))


def test_gradient_reaches_the_drawn_picture_only(pictures):
    drawn, filmed, masks = (picture.double().requires_grad_() for picture in pictures)
    color_loss(drawn, filmed, masks).sum().backward()
    assert filmed.grad is None and masks.grad is None
    assert drawn.grad is not None
    step, direction = 1e-6, torch.randn(drawn.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    up, down = (color_loss(drawn.detach() + sign * step * direction, filmed, masks).sum() for sign in (1, -1))
    torch.testing.assert_close((drawn.grad * direction).sum(), (up - down).detach() / (2 * step), rtol=1e-4, atol=1e-6)


def test_empty_mask_has_no_loss_and_no_gradient(pictures):
    drawn, filmed, masks = pictures
    drawn, masks = drawn.requires_grad_(), masks * torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    loss = color_loss(drawn, filmed, masks)
    loss.sum().backward()
    assert loss[1] == 0 and loss[0] > 0
    assert torch.isfinite(drawn.grad).all() and not drawn.grad[1].any()


def test_small_pictures_are_padded():
    drawn, filmed = torch.zeros(1, 4, 3, 3), torch.ones(1, 4, 3, 3)
    assert torch.isfinite(color_loss(drawn, filmed, torch.ones(1, 4, 3))).all()


def test_a_perceptual_distance_sees_the_masked_picture(pictures):
    drawn, filmed, masks = pictures
    seen = []

    def perceptual(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append((a, b))
        return (a - b).square().mean((1, 2, 3))

    loss = color_loss(drawn, filmed, masks, perceptual)
    torch.testing.assert_close(loss, (drawn - filmed * masks[..., None]).square().mean((1, 2, 3)))
    assert torch.equal(seen[0][1], filmed * masks[..., None])


def test_lpips_refuses_in_one_line_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(Animal4dError, match=r"pip install 'animal4d\[lpips\]'.*download https://.*vgg16") as refusal:
        load_lpips()
    assert "\n" not in str(refusal.value)


def test_lpips_refuses_in_one_line_where_torchvision_does_not_fit(monkeypatch):
    def broken(name: str):
        raise RuntimeError("operator torchvision::nms\ndoes not exist")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(Animal4dError, match=r"nms does not exist.*torchvision that fits to torch") as refusal:
        load_lpips()
    assert "\n" not in str(refusal.value)


def test_lpips_downloads_nothing_by_itself(monkeypatch, tmp_path):
    def network(**options):
        raise AssertionError("loaded without weights")

    package = types.ModuleType("lpips")
    package.LPIPS = network  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(Animal4dError, match=f"download https://.*to {tmp_path}"):
        load_lpips()


def test_lpips_is_given_pictures_as_it_wants_them(monkeypatch, tmp_path):
    """Channels first, and told that values lie in [0, 1]: a stand-in for the network, which cannot be loaded here."""

    class Network(torch.nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()
            assert net == "vgg" and not verbose

        def forward(self, a: torch.Tensor, b: torch.Tensor, normalize: bool) -> torch.Tensor:
            assert a.shape == (2, 3, 16, 20) and normalize
            return (a - b).square().mean((1, 2, 3), keepdim=True)

    package = types.ModuleType("lpips")
    package.LPIPS = Network  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "lpips", package)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg16-397923af.pth").touch()
    distance = load_lpips()(torch.zeros(2, 16, 20, 3), torch.ones(2, 16, 20, 3))
    torch.testing.assert_close(distance, torch.ones(2))
