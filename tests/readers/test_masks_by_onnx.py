"""Masks by ONNX files that call everything bright foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from animal4d.errors import Animal4dError
from animal4d.pretrained.onnx_segmenter import OnnxSegmenter, read_onnx
from animal4d.readers.folder import FolderSource
from animal4d.readers.mask_finders import MaskFinder, Place
from animal4d.readers.masks_by_onnx import OnnxMaskFinder
from cues.truth_eyes import TruthEyes

from .test_masks_by_eyes import frames_of, overlaps, write

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
COUNT, HEIGHT, WIDTH = 5, 90, 160
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def bright_network(
    file: Path,
    size: tuple[int | str, int | str] = (320, 320),
    dark: float = 0.0,
    slope: float = 1.0,
    sigmoid: bool = True,
    channels: int = 3,
    half: bool = False,
) -> Path:
    """`sigmoid(slope * (mean of the normalised colours - dark))` of every pixel."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["grey"], keepdims=1),
        helper.make_node("Sub", ["grey", "dark"], ["above"]),
        helper.make_node("Mul", ["above", "slope"], ["logits"]),
    ]
    if sigmoid:
        nodes.append(helper.make_node("Sigmoid", ["logits"], ["foreground"]))
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("dark", kind, [], [dark]),
        helper.make_tensor("slope", kind, [], [slope]),
    ]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("picture", kind, [1, channels, *size])],
        [helper.make_tensor_value_info("foreground" if sigmoid else "logits", kind, [1, 1, *size])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, file)
    return file


@pytest.mark.parametrize(
    ("name", "size", "options", "expected_size", "normal", "brightest"),
    [
        ("any.onnx", (320, 320), {}, (320, 320), IMAGENET, 200),
        ("any.onnx", (1024, 1024), {}, (1024, 1024), ((0.5,) * 3, (1.0,) * 3), 255),
        ("BiRefNet-general.onnx", (1024, 1024), {}, (1024, 1024), IMAGENET, 255),
        ("isnet-general-use.onnx", ("h", "w"), {"size": 64}, (64, 64), ((0.5,) * 3, (1.0,) * 3), 255),
        ("u2netp.onnx", ("h", "w"), {}, (320, 320), IMAGENET, 200),
        ("any.onnx", (96, 128), {"family": "isnet"}, (96, 128), ((0.5,) * 3, (1.0,) * 3), 255),
    ],
)
@pytest.mark.parametrize("sigmoid", [True, False])
def test_each_family_gets_its_size_and_colours(
    tmp_path: Path,
    name: str,
    size: Any,
    options: dict[str, Any],
    expected_size: tuple[int, int],
    normal: tuple[tuple[float, ...], tuple[float, ...]],
    brightest: int,
    sigmoid: bool,
) -> None:
    network = read_onnx(bright_network(tmp_path / name, size, sigmoid=sigmoid), **options)
    colors = np.array([200, 100, 30], np.uint8)
    found = network.foreground(np.broadcast_to(colors, (50, 70, 3)))
    assert found.shape == expected_size == network.size
    logit = ((colors / brightest - normal[0]) / normal[1]).mean()
    # Files that end before the sigmoid are known by values outside of [0, 1]; those inside are probabilities.
    wanted = logit if not sigmoid and 0 <= logit <= 1 else 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_networks_in_half_precision(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    single, half = (
        read_onnx(bright_network(tmp_path / f"{half}.onnx", (40, 40), half=half)).foreground(image)
        for half in (False, True)
    )
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, single, atol=2e-3)


def two_blots() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames with a smaller blot that goes right and a larger one that goes up, and the masks of both."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 60, (COUNT, HEIGHT, WIDTH, 3)).astype(np.uint8)
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    small, large = np.zeros((2, COUNT, HEIGHT, WIDTH), bool)
    for index in range(COUNT):
        small[index] = ((columns - 35 - 4 * index) / 20) ** 2 + ((rows - 55) / 12) ** 2 < 1
        large[index] = ((columns - 120) / 28) ** 2 + ((rows - 50 + 3 * index) / 20) ** 2 < 1
        frames[index][small[index] | large[index]] = (240, 190, 210)
    return frames, small, large


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bright_network(tmp_path_factory.mktemp("onnx") / "isnet.onnx", (64, 64), dark=-0.05, slope=40.0)


def found_in(finder: MaskFinder, folder: Path, place: Place = Place()) -> tuple[Any, list[np.ndarray]]:  # noqa: B008
    source = FolderSource(folder, None)
    made = finder(source, source.select(0, None, 1, None), place)
    return made, [np.zeros(0) if mask is None else mask for mask in made.read()]


@pytest.mark.parametrize(
    "place", [Place((13.0, 42.0, 45.0, 26.0)), Place(point=(40.0, 60.0)), Place((13.0, 42.0, 45.0, 26.0), (40.0, 60.0))]
)
def test_the_user_says_which(tmp_path: Path, bright: Path, place: Place) -> None:
    frames, small, _ = two_blots()
    made, masks = found_in(OnnxMaskFinder(bright), write(tmp_path / "frames", frames), place)
    assert min(overlaps(masks, small)) > 0.85
    assert made.description == "found by isnet.onnx" and made.warnings == []


def test_what_stands_out_most_where_nobody_says(tmp_path: Path, bright: Path) -> None:
    frames, _, large = two_blots()
    made, masks = found_in(OnnxMaskFinder(bright), write(tmp_path / "frames", frames))
    assert min(overlaps(masks, large)) > 0.85
    assert any("say by --box which it is" in warning for warning in made.warnings)


def test_the_built_in_eyes_say_which(tmp_path: Path, bright: Path) -> None:
    """The animal among bright blots, larger ones too, that are none."""
    frames, truth = frames_of(np.linspace(-0.6, 0.9, COUNT).tolist())
    frames[:, 5:70, 150:235][~truth[:, 5:70, 150:235]] = 255
    frames[:, 10:50, 5:60][~truth[:, 10:50, 5:60]] = 255
    # In the window around the animal another blot may touch it; here they lie apart.
    blank = np.zeros_like(truth)
    for index, mask in enumerate(truth):
        rows, columns = np.nonzero(mask)
        blank[index, max(rows.min() - 8, 0) : rows.max() + 8, max(columns.min() - 8, 0) : columns.max() + 8] = True
    frames[blank & ~truth] = 20
    finder = OnnxMaskFinder(bright_network(tmp_path / "u2net.onnx", (320, 320), dark=-0.6, slope=20.0), TruthEyes())
    made, masks = found_in(finder, write(tmp_path / "frames", frames))
    assert min(overlaps(masks, truth)) > 0.85
    assert made.warnings == []


def test_neighbours_mend_a_frame_in_doubt(tmp_path: Path, bright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, small, _ = two_blots()
    looks: list[int] = []
    look = OnnxSegmenter.foreground

    def unsure(self: OnnxSegmenter, image: np.ndarray) -> np.ndarray:
        seen = look(self, image)
        looks.append(1)
        if len(looks) == 3:
            seen[:, : seen.shape[1] // 2] *= 0.3  # the left half of the animal
        return seen

    monkeypatch.setattr(OnnxSegmenter, "foreground", unsure)
    _, masks = found_in(OnnxMaskFinder(bright), write(tmp_path / "frames", frames), Place((13.0, 42.0, 45.0, 26.0)))
    assert min(overlaps(masks, small)) > 0.8


def test_frames_without_the_animal(tmp_path: Path, bright: Path) -> None:
    frames, small, _ = two_blots()
    frames[2] = 20
    folder = write(tmp_path / "frames", frames)
    made, masks = found_in(OnnxMaskFinder(bright), folder, Place((13.0, 42.0, 45.0, 26.0)))
    assert not masks[2].any() and any("lost the animal in frame 2" in warning for warning in made.warnings)
    assert min(overlaps([*masks[:2], *masks[3:]], np.delete(small, 2, axis=0))) > 0.85


def test_nothing_to_be_seen_is_one_line(tmp_path: Path, bright: Path) -> None:
    frames, _, _ = two_blots()
    dark = write(tmp_path / "dark", np.zeros_like(frames))
    with pytest.raises(Animal4dError, match=r"isnet.onnx sees nothing that stands out: .*--box"):
        found_in(OnnxMaskFinder(bright), dark)
    folder = write(tmp_path / "frames", frames)
    for place in (Place(point=(80.0, 5.0)), Place((70.0, 2.0, 12.0, 12.0))):
        with pytest.raises(Animal4dError, match=r"--(point 80,5|box 70,2,12,12): isnet.onnx sees nothing there"):
            found_in(OnnxMaskFinder(bright), folder, place)
    with pytest.raises(Animal4dError, match=r"--point 300,5 is no point x,y in a frame of 160x90"):
        found_in(OnnxMaskFinder(bright), folder, Place(point=(300.0, 5.0)))


def test_broken_files_are_one_line(tmp_path: Path, bright: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(bright.read_bytes()[:100])
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    grey = bright_network(tmp_path / "grey.onnx", (64, 64), channels=1)
    for file, options, said in (
        (tmp_path / "missing.onnx", {}, "no such file"),
        (cut, {}, "cannot be read as an ONNX network"),
        (text, {}, "cannot be read as an ONNX network"),
        (grey, {}, r"reads 1x1x64x64, not one picture"),
        (bright, {"family": "vgg"}, "known are u2net, isnet, birefnet"),
        (bright, {"size": 320}, "looks at 64x64 pixels, not at 320"),
    ):
        with pytest.raises(Animal4dError, match=said) as raised:
            read_onnx(file, **options)
        assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_a_network_that_gives_no_map_is_named(tmp_path: Path) -> None:
    colours = bright_network(tmp_path / "u2net.onnx", (64, 64))
    model = onnx.load(colours)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, [1, 3, 64, 64]))
    model.graph.node.append(onnx.helper.make_node("Relu", ["picture"], ["same"]))
    onnx.save(model, colours)
    with pytest.raises(Animal4dError, match=r"u2net\.onnx: the first output of this network .*u2net\) is 1x3x64x64"):
        read_onnx(colours).foreground(np.zeros((20, 20, 3), np.uint8))


def test_telemetry_is_off_before_a_network_is_read(bright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession
    monkeypatch.setattr(runtime, "disable_telemetry_events", lambda: calls.append("off"), raising=False)
    monkeypatch.setattr(
        runtime, "InferenceSession", lambda *given, **more: calls.append("session") or session(*given, **more)
    )
    read_onnx(bright)
    assert calls == ["off", "session"]


def test_without_the_package(bright: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("animal4d.pretrained.onnx_segmenter.PACKAGE", "no_such_package")
    with pytest.raises(Animal4dError, match=r"pip install 'animal4d\[pretrained\]'"):
        read_onnx(bright)
