"""Data from strangers are read, programs from strangers are not: hostile files end in one line and do nothing."""

from __future__ import annotations

import builtins
import collections
import copyreg
import io
import os
import pickle
import pickletools
import struct
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from animal4d.errors import Animal4dError
from animal4d.files.unpickle import load_pickle, load_torch

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
EXECUTED: list[str] = []


def canary(*arguments: Any) -> str:
    """What hostile files try to call."""
    EXECUTED.append(repr(arguments))
    return "executed"


@pytest.fixture(autouse=True)
def nothing_is_executed():
    EXECUTED.clear()
    yield
    assert not EXECUTED


class Calls:
    """Pickles as a call of any function with any arguments, and a state."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def read(data: bytes, folder: Path, encoding: str = "latin1") -> Any:
    path = folder / "data.pkl"
    path.write_bytes(data)
    return load_pickle(path, encoding)


def refusal(data: bytes, folder: Path) -> str:
    """The one line in which a file is refused."""
    with pytest.raises(Animal4dError) as caught:
        read(data, folder)
    line = str(caught.value)
    assert "\n" not in line and "data.pkl" in line and len(line) < 600
    return line


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, np.ndarray) and theirs.dtype == object:
        assert ours.dtype == object and ours.shape == theirs.shape
        assert_same(ours.ravel().tolist(), theirs.ravel().tolist())
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype.newbyteorder("=") and ours.flags.writeable
        np.testing.assert_array_equal(ours, theirs)
    elif scipy.sparse.issparse(theirs):
        assert type(ours) is type(theirs)
        np.testing.assert_array_equal(ours.toarray(), theirs.toarray())
    elif isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)
    else:
        assert type(ours) is type(theirs) and ours == theirs


def sample_data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    ragged = np.empty((2, 1), object)
    ragged[0, 0], ragged[1, 0] = np.arange(3), {"a": [None, "b"]}
    matrix = rng.random((4, 6)) * (rng.random((4, 6)) > 0.5)
    shared = [1, 2]
    return {
        "numbers": [0, -1, 255, 70000, 2**40, -(2**80), 1.5, True, None, 2j, "é", b"\xff\x00", b""],
        "containers": [{1, "a"}, frozenset({2.5}), (), (1,), (1, 2, 3, 4), {"x": {(1, "y"): [shared, shared]}}],
        "bytes": bytearray(b"\x00\xfe"),
        "arrays": [
            rng.random((3, 2)).astype(np.float32),
            np.asfortranarray(rng.random((3, 2))),
            rng.random((4, 4))[:, ::2],
            np.arange(5, dtype=">i4"),
            np.zeros((0, 3)),
            np.array(2.0),
            np.array([True, False]),
            np.array(["a", "bcd"]),
            np.array([b"x", b"yz"]),
            rng.random(3) + 1j,
            np.transpose(rng.random((2, 3, 4)), (1, 0, 2)),
        ],
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("leg"), {np.int64(4): 1}],
        "objects": [ragged, np.array([1, "a", None], object), np.array([[1, 2], [3, "x"]], object, order="F")],
        "sparse": [
            *(getattr(scipy.sparse, f"{kind}_matrix")(matrix) for kind in ("csr", "csc", "coo", "dia", "bsr")),
            scipy.sparse.csr_array(matrix),
        ],
        "tensors": [torch.randn(2, 3), torch.arange(6).reshape(2, 3).T, torch.zeros(0, 2), torch.tensor(True)],
        "size": torch.Size([2, 3]),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sample_data().keys())
def test_data_come_back(name: str, protocol: int, tmp_path: Path):
    torch.manual_seed(0)
    value = sample_data()[name]
    expected = tuple(value) if name == "size" else value
    assert_same(read(pickle.dumps(value, protocol), tmp_path), expected)


def test_ordered_dicts_come_back_in_order(tmp_path: Path):
    value = collections.OrderedDict(b=1, a=2)
    for protocol in PROTOCOLS:
        assert list(read(pickle.dumps(value, protocol), tmp_path).items()) == [("b", 1), ("a", 2)]


def test_old_and_new_names_of_numpy_are_one(tmp_path: Path):
    data = pickle.dumps([np.arange(3.0), np.float64(2)], 2)
    assert b"numpy._core." in data or b"numpy.core." in data
    for spelling in (b"numpy.core.", b"numpy._core."):
        renamed = data.replace(b"numpy._core.", b"numpy.core.").replace(b"numpy.core.", spelling)
        assert_same(read(renamed, tmp_path), [np.arange(3.0), np.float64(2)])


def test_a_list_may_hold_itself(tmp_path: Path):
    knot: list[Any] = [1, np.zeros(2)]
    knot.append((knot,))
    ours = read(pickle.dumps(knot, 2), tmp_path)
    assert ours[2][0] is ours and ours[1].tolist() == [0, 0]


PYTHON2_BINARY = (
    b"\x80\x02}q\x00(U\x01vq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04"
    b"(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02f8K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89T\x10\x00\x00\x00" + struct.pack("<2d", -1.5, 3e-7) + b"tbU\x01sq\x07U\x03d\xe9jq\x08u."
)
PYTHON2_TEXT = (
    b"(dp0\nS'v'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
    b"(I1\n(L2L\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
    b"S" + repr(struct.pack("<2d", -1.5, 3e-7))[1:].encode() + b"\np15\ntp16\nbsS's'\np17\nS'd\\xe9j'\np18\ns."
)


@pytest.mark.parametrize("data", [PYTHON2_BINARY, PYTHON2_TEXT], ids=["binary", "text"])
def test_pickles_of_python_2(data: bytes, tmp_path: Path):
    ours = read(data, tmp_path)
    assert_same(ours, {"v": np.array([-1.5, 3e-7]), "s": "déj"})
    assert read(data, tmp_path, "bytes")[b"s"] == b"d\xe9j"
    with pytest.raises(Animal4dError, match="ascii"):
        read(data, tmp_path, "ASCII")


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Classes that pickle as chumpy's do; chumpy itself is not needed to read them."""

    class Ch:
        def __init__(self, **state: Any) -> None:
            self.__dict__.update(state, _dirty_vars={"x"}, _itr=None)

    kinds = {"Ch": ("chumpy.ch", Ch)}
    for name in ("Select", "Reshape", "transpose", "Tile"):
        kinds[name] = ("chumpy.reordering", type(name, (Ch,), {}))
    for name, (module, kind) in kinds.items():
        kind.__module__, kind.__qualname__ = module, name
        monkeypatch.setitem(sys.modules, module, sys.modules.get(module, types.ModuleType(module)))
        setattr(sys.modules[module], name, kind)
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return types.SimpleNamespace(**{name: kind for name, (_, kind) in kinds.items()})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chumpy_arrays_come_back_as_numpy(chumpy: types.SimpleNamespace, protocol: int, tmp_path: Path):
    x = np.arange(12.0).reshape(3, 4)
    whole = chumpy.Ch(x=x)
    part = chumpy.Select(a=whole, idxs=np.array([0, 5, 2, 11]), preferred_shape=(2, 2))
    value = {"x": whole, "again": whole, "part": part, "turned": chumpy.transpose(a=part, axes=None)}
    value["line"] = chumpy.Reshape(a=whole, newshape=(-1,))
    ours = read(pickle.dumps(value, protocol), tmp_path)
    assert ours["again"] is ours["x"]
    assert_same(ours["x"], x)
    np.testing.assert_array_equal(ours["part"], [[0, 5], [2, 11]])
    np.testing.assert_array_equal(ours["turned"], [[0, 2], [5, 11]])
    np.testing.assert_array_equal(ours["line"], np.arange(12))


def test_other_classes_of_chumpy_are_named(chumpy: types.SimpleNamespace, tmp_path: Path):
    assert "chumpy.reordering.Tile" in refusal(pickle.dumps(chumpy.Tile(a=1, reps=2)), tmp_path)


HOSTILE_CALLS = {
    "system": (Calls(os.system, "false"), "system"),
    "eval": (Calls(builtins.eval, "1"), "eval"),
    "getattr": (Calls(getattr, (), "__class__"), "getattr"),
    "import": (Calls(__import__, "os"), "__import__"),
    "canary": (Calls(canary, 1), "canary"),
    "open": (Calls(open, "x", "w"), "open"),
    "pickle.loads": (Calls(pickle.loads, b"N."), "loads"),
    "numpy.load": (Calls(np.load, "x.npy", None, True), "load"),
    "torch.load": (Calls(torch.load, "x.pt"), "load"),
    "partial": (Calls(__import__("functools").partial, canary), "partial"),
    "plain instance": (Calls(copyreg.__newobj__, Calls), ""),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("attack", "name"), HOSTILE_CALLS.values(), ids=HOSTILE_CALLS.keys())
def test_calls_are_refused_by_name(attack: Any, name: str, protocol: int, tmp_path: Path):
    hidden = np.empty(2, object)
    hidden[:] = ["a", attack]
    disguises = [attack, [attack], {"a": {"b": (1, attack)}}, {"v_template": np.zeros(3), "x": attack}, hidden]
    for disguise in disguises:
        try:
            data = pickle.dumps(disguise, protocol)
        except pickle.PicklingError:  # the oldest protocols cannot write all of them
            continue
        assert name in refusal(data, tmp_path)
    assert not list(tmp_path.glob("x*"))


def test_a_state_cannot_execute(tmp_path: Path):
    for function, arguments in ((collections.OrderedDict, ()), (set, ([1],)), (bytearray, (b"a",)), (canary, ())):
        state = {"__class__": 1, "__setstate__": 2}
        assert "loaded for safety" in refusal(pickle.dumps(Calls(function, *arguments, state=state), 2), tmp_path)


def _call(module: str, name: str, arguments: bytes, then: bytes = b"") -> bytes:
    """A program by hand: `module.name(*arguments)`, then more instructions."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R" + then + b"."


_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
_OBJECT_TYPE = b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
HOSTILE_PROGRAMS = {
    "inst": (b"(S'false'\nios\nsystem\n.", "INST"),
    "obj": (b"(cos\nsystem\nS'false'\no.", "os.system"),
    "obj of a known class": (b"(cnumpy\nndarray\no.", "OBJ"),
    "stack global": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05false\x85R.", "os.system"),
    "dotted stack global": (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.tofile.x\x93.", "numpy.ndarray.tofile.x"),
    "names that are no names": (b"\x80\x04K\x01\x8c\x07sys\ntem\x93.", "1.sys?tem"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "persistent id": (b"Pmodel\n.", "PERSID"),
    "binary persistent id": (b"\x80\x02K\x01Q.", "BINPERSID"),
    "buffer outside": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "keyword arguments": (b"\x80\x04cnumpy\nndarray\n)}\x92.", "NEWOBJ_EX"),
    "subclass of arrays": (
        _call("numpy.core.multiarray", "_reconstruct", b"(cnumpy\nmemmap\n(K\x00tU\x01bt"),
        "numpy.memmap",
    ),
    "reconstruct with a function": (
        _call("numpy.core.multiarray", "_reconstruct", b"(c_codecs\nencode\n(K\x00tU\x01bt"),
        "_codecs.encode",
    ),
    "pointers": (b"\x80\x02" + _ARRAY + b"(K\x01K\x01\x85" + _OBJECT_TYPE + b"\x89U\x08AAAAAAAAtb.", "does not fit"),
    "object scalar": (_call("numpy.core.multiarray", "scalar", _OBJECT_TYPE + b"U\x08AAAAAAAA\x86"), "numpy scalar"),
    "objects from a buffer": (
        _call("numpy._core.numeric", "_frombuffer", b"(U\x08AAAAAAAA" + _OBJECT_TYPE + b"K\x01\x85U\x01Ct"),
        "objects from bytes",
    ),
    "record type": (b"\x80\x02cnumpy\ndtype\n(U\x02V8K\x00K\x01tR.", "type V8"),
    "state of a class": (b"\x80\x02cnumpy\nndarray\n}U\x01aK\x01sb.", "numpy.ndarray"),
    "state of a function": (b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.", "_codecs.encode"),
    "state of a dict": (b"\x80\x02}}b.", "dict"),
    "two states": (b"\x80\x02" + _ARRAY + b"(K\x01tb(K\x01tb.", "second state"),
    "class as a value": (b"\x80\x02]cnumpy\nndarray\na.", "numpy.ndarray"),
    "append to a class": (b"\x80\x02cnumpy\nndarray\nK\x01a.", "numpy.ndarray"),
    "instance of a function": (b"\x80\x02c_codecs\nencode\n)\x81.", "_codecs.encode"),
    "reconstructor": (b"ccopy_reg\n_reconstructor\n(cos\nPathLike\nc__builtin__\nobject\nNtR.", "os.PathLike"),
    "reconstructor on a list": (
        b"ccopy_reg\n_reconstructor\n(cscipy.sparse.csr\ncsr_matrix\nc__builtin__\nlist\n(ltR.",
        "__builtin__.list",
    ),
    "codec": (_call("_codecs", "encode", b"X\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86"), "encoding"),
    "huge bytearray": (_call("__builtin__", "bytearray", b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85"), "encoding"),
    "huge array": (b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00abc.", "bytearray8"),
    "huge memo": (b"\x80\x02Nr\xff\xff\xff\xff.", None),
    "slow keys": (b"\x80\x02}" + b")\x86".join([b")"] * 2) + b"\x85" + b"2\x86" * 60 + b"Ns.", "tuple"),
    "ends early": (b"\x80\x02]", "ends too early"),
    "no stack": (b"\x80\x02R.", "pop"),
    "unknown instruction": (b"\x80\x02\xff.", "unknown instruction"),
    "protocol of the future": (b"\x80\x09N.", "protocol 9"),
    "deep": (b"]" * 100_000 + b"a" * 99_999 + b".", "nested more than 100 deep"),
    "holds itself": (b"\x80\x02" + _ARRAY + b"q\x00h\x00b.", "contains itself"),
    "many copies": (
        b"\x80\x02(T\x00\x00\x10\x00" + bytes(1 << 20) + b"q\x010" + b"c_codecs\nencode\nq\x000"
        b"X\x06\x00\x00\x00latin1q\x020" + b"h\x00h\x01h\x02\x86R" * 40 + b"l.",
        "far larger than the file",
    ),
}


@pytest.mark.parametrize(("data", "words"), HOSTILE_PROGRAMS.values(), ids=HOSTILE_PROGRAMS.keys())
def test_hostile_programs_end_in_one_line(data: bytes, words: str | None, tmp_path: Path):
    if words is None:  # harmless here: the memo is as large as what is in it
        assert read(data, tmp_path) is None
    else:
        assert words in refusal(data, tmp_path)


def test_a_matrix_cannot_point_beyond_itself(tmp_path: Path):
    for kind in ("csr", "csc", "bsr"):
        matrix = getattr(scipy.sparse, f"{kind}_matrix")(np.eye(3))
        matrix.indices[1] = 1_000_000
        assert "cannot be read" in refusal(pickle.dumps(matrix), tmp_path)


class _Evil(torch.nn.Module):
    def __reduce__(self):
        return canary, (1,)


def _storage_file(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_torch_storages_cannot_execute(tmp_path: Path):
    load_storage = torch.storage._load_from_bytes
    for content in (_Evil(), {"a": _Evil()}, torch.ones(2), [1]):
        refusal(pickle.dumps(Calls(load_storage, _storage_file(content)), 2), tmp_path)
    assert "bare torch storage" in refusal(pickle.dumps(torch.ones(2).storage(), 2), tmp_path)


@pytest.mark.parametrize(
    "view", [(0, (3,), (1,)), (1, (2,), (1,)), (0, (2, 2), (2, 1)), (0, (2,), (-1,)), (0, (2,), ())]
)
def test_tensors_cannot_look_beyond_their_storage(view: Any, tmp_path: Path):
    storage = torch.ones(2).storage()
    hostile = Calls(torch._utils._rebuild_tensor_v2, storage, *view, False, collections.OrderedDict())
    assert "torch tensor" in refusal(pickle.dumps(hostile, 2), tmp_path)


def test_expanded_tensors_do_not_fill_the_memory(tmp_path: Path):
    hostile = Calls(torch._utils._rebuild_tensor_v2, torch.ones(2).storage(), 0, (1 << 40,), (0,), False, ())
    assert "far larger than the file" in refusal(pickle.dumps(hostile, 2), tmp_path)


def test_two_hundred_damaged_files_end_in_a_value_or_one_line(chumpy: types.SimpleNamespace, tmp_path: Path):
    rng = np.random.default_rng(7)
    torch.manual_seed(0)
    value = {**sample_data(), "chumpy": chumpy.Ch(x=np.eye(3))}
    originals = [pickle.dumps(value, protocol) for protocol in PROTOCOLS]
    originals += [pickle.dumps(part, 2) for part in value.values()] + [PYTHON2_BINARY, PYTHON2_TEXT]
    failed = 0
    for case in range(200):
        data = bytearray(originals[case % len(originals)])
        if case % 4 == 0:
            del data[rng.integers(len(data)) :]
        for place in rng.integers(max(len(data), 1), size=rng.integers(0 if case % 4 == 0 else 1, 9)):
            if place < len(data):
                data[place] ^= 1 << rng.integers(8)
        try:
            read(bytes(data), tmp_path)
        except Animal4dError as error:
            failed += 1
            assert "\n" not in str(error) and "data.pkl" in str(error)
    assert failed > 100  # the damage reaches the program, not only numbers


def test_what_is_not_a_pickle(tmp_path: Path):
    assert "is empty" in refusal(b"", tmp_path)
    assert "cannot be read as a pickle" in refusal(b"PK\x03\x04 a zip", tmp_path)
    with pytest.raises(Animal4dError, match=r"nothing\.pkl: cannot be read \(No such file"):
        load_pickle(tmp_path / "nothing.pkl")
    with pytest.raises(Animal4dError, match="cannot be read"):
        load_pickle(tmp_path)


def test_every_instruction_is_known_or_refused(tmp_path: Path):
    for opcode in pickletools.opcodes:
        with pytest.raises(Animal4dError):
            read(opcode.code.encode("latin-1") + b"\xff", tmp_path)


def test_torch_files(tmp_path: Path):
    path = tmp_path / "x.pt"
    torch.save((torch.ones(2, 3), {"a": [1, "b"]}), path)
    tensor, rest = load_torch(path)
    assert torch.equal(tensor, torch.ones(2, 3)) and rest == {"a": [1, "b"]}
    whole = path.read_bytes()
    torch.save(_Evil(), tmp_path / "evil.pt")
    broken = {"cut.pt": whole[:-40], "half.pt": whole[: len(whole) // 2], "text.pt": b"a dog", "empty.pt": b""}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    for name in (*broken, "evil.pt", "nothing.pt", "."):
        with pytest.raises(Animal4dError) as caught:
            load_torch(tmp_path / name)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    with pytest.raises(Animal4dError, match="canary, which is not loaded"):
        load_torch(tmp_path / "evil.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_that_name_blocked_modules_are_refused_as_plainly(tmp_path: Path, zipped: bool):
    """torch has other words for these."""
    path, folder = tmp_path / "trap.pt", tmp_path / "made"
    torch.save(_Folder(folder), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(Animal4dError) as caught:
        load_torch(path)
    assert (
        str(caught.value) == f"{path}: holds {os.mkdir.__module__}.mkdir, which is not loaded for safety; tensors are"
    )
    assert not folder.exists()


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_damaged_torch_files_end_in_a_value_or_one_line(tmp_path: Path):
    rng = np.random.default_rng(3)
    path = tmp_path / "x.pt"
    originals = []
    for zipped in (True, False):
        torch.save({"points": torch.randn(4, 2), "visible": [True]}, path, _use_new_zipfile_serialization=zipped)
        originals.append(path.read_bytes())
    for case in range(40):
        data = bytearray(originals[case % 2])
        for place in rng.integers(len(data), size=3):
            data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data if case % 3 else data[: rng.integers(len(data))])
        try:
            load_torch(path)
        except Animal4dError as error:
            assert "\n" not in str(error)
