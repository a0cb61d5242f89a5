"""The pickles of six interpreters load; a pickle that is a program does not run."""

import copyreg
import gzip
import os
import pickle
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dae.datasets import DataError, read_data

# The pixels of the arrays here, unlike those of images, need not vary.
pytestmark = pytest.mark.filterwarnings("ignore:.*hardly vary")

SAMPLES = sorted((Path(__file__).parent / "data").glob("*.pkl.gz"))


def pair(n, first):
    """The arrays that tests/data/make_pickles.py pickled."""
    pixels = [(7 * i + first) % 256 / 256 for i in range(12 * n)]
    return np.array(pixels, "float32").reshape(n, 12), np.arange(n) % 3


def assert_is_sample(dataset):
    for (x, y), (n, first) in zip(dataset[:3], [(6, 0), (2, 100), (3, 200)], strict=True):
        expected_x, expected_y = pair(n, first)
        assert x.dtype == np.float32
        assert y.dtype == np.int32
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)


def test_there_are_samples_of_python_2_and_of_numpy_1_and_2():
    names = " ".join(path.name for path in SAMPLES)
    for version in ("python2.7-numpy1", "python3.10-numpy1", "python3.12-numpy2"):
        assert version in names
    assert len(SAMPLES) == 3 + 6 + 6


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_made_by_other_interpreters_load(path, tmp_path):
    assert_is_sample(read_data(path))
    unpacked = tmp_path / "mnist.pkl"
    unpacked.write_bytes(gzip.decompress(path.read_bytes()))
    assert_is_sample(read_data(unpacked))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_this_interpreter_load_whatever_the_layout(protocol, tmp_path):
    x, y = pair(6, 0)
    readonly = x.copy()
    readonly.flags.writeable = False
    path = tmp_path / "data.pickle"
    for train_x in (x, x.astype(">f4"), np.asfortranarray(x), x.astype("f8"), readonly):
        data = [[train_x, y.astype("u1")], (x[::2], y[::2]), (x[:1], y[:1])]
        path.write_bytes(pickle.dumps(data, protocol))
        (read_x, read_y), (valid_x, _), *_ = read_data(path)
        np.testing.assert_array_equal(read_x, x)
        np.testing.assert_array_equal(read_y, y)
        np.testing.assert_array_equal(valid_x, x[::2])
        assert read_x.flags.c_contiguous
        assert read_x.dtype.isnative
        assert read_x.flags.writeable


# Every gadget makes the file or folder MARKER if it is run; the test shows that it would.

ARGUMENT = b"(VMARKER\ntR."
GADGETS = {
    "os.system": b"cos\nsystem\n(Vtouch MARKER\ntR.",
    "posix.system": b"cposix\nsystem\n(Vtouch MARKER\ntR.",
    "subprocess.call": b"csubprocess\ncall\n((Vtouch\nVMARKER\nltR.",
    "eval": b"c__builtin__\neval\n(V__import__('os').mkdir('MARKER')\ntR.",
    "exec": b"cbuiltins\nexec\n(Vimport os; os.mkdir('MARKER')\ntR.",
    "numpy's runstring": b"cnumpy.testing._private.utils\nrunstring\n"
    b"(Vimport os; os.mkdir('MARKER')\n}tR.",
    "numpy.memmap": b"cnumpy\nmemmap\n(VMARKER\nVuint8\nVw+\nI0\nI8\ntR.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + ARGUMENT,
    "dotted name": b"\x80\x04\x8c\x06shutil\x8c\x08os.mkdir\x93" + ARGUMENT,
    "dotted name of numpy": b"\x80\x04\x8c\x05numpy\x8c\x1ftesting._private.utils.os.mkdir\x93"
    + ARGUMENT,
    "INST": b"(VMARKER\nios\nmkdir\n.",
    "OBJ": b"(cos\nmkdir\nVMARKER\no.",
    "NEWOBJ": b"\x80\x02cnumpy\nmemmap\n(VMARKER\nVuint8\nVw+\nI0\nI8\nt\x81.",
    "extension": b"\x80\x02\x82\xf0" + ARGUMENT,
    "before good data": b"cos\nmkdir\n(VMARKER\ntR0" + pickle.dumps([pair(3, 0)] * 3),
}


class Malicious:
    """What pickle documents: `__reduce__` names whatever is to be called."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def assert_refused_without_running(program, marker, tmp_path):
    path = tmp_path / "gadget.pkl"
    path.write_bytes(program)
    with pytest.raises(DataError, match=r"gadget\.pkl: .*refused"):
        read_data(path)
    assert not marker.exists()
    copyreg.add_extension("os", "mkdir", 240)
    try:
        pickle.loads(program)
    finally:
        copyreg.remove_extension("os", "mkdir", 240)
    assert marker.exists(), "the gadget does not work, so refusing it proves nothing"


@pytest.mark.parametrize("name", GADGETS)
def test_a_gadget_is_refused_and_not_run(name, tmp_path):
    marker = tmp_path / "marker"
    program = GADGETS[name].replace(b"MARKER", str(marker).encode())
    assert_refused_without_running(program, marker, tmp_path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("place", ["in an object array", "in place of labels", "in place of all"])
def test_a_malicious_object_is_refused_and_not_run(place, protocol, tmp_path):
    marker = tmp_path / "marker"
    x, y = pair(3, 0)
    data = {
        "in an object array": [(np.array([Malicious(marker)], object), y), (x, y), (x, y)],
        "in place of labels": [(x, y), (x, y), (x, Malicious(marker))],
        "in place of all": Malicious(marker),
    }[place]
    assert_refused_without_running(pickle.dumps(data, protocol), marker, tmp_path)


def test_a_named_module_is_not_even_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gadget_module.py").write_text("def f(): pass\n")
    (tmp_path / "gadget.pkl").write_bytes(b"cgadget_module\nf\n.")
    with pytest.raises(DataError, match="gadget_module f"):
        read_data(tmp_path / "gadget.pkl")
    assert "gadget_module" not in sys.modules


def array_program(shape="(I2\nI3\nt", code="f4", byte_order="<", data=r"\x00" * 24):
    """How Python 2 pickles an array in protocol 0, with whatever is said to be in it."""
    return (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        f"(I1\n{shape}cnumpy\ndtype\n(S'{code}'\nI0\nI1\ntR(I3\nS'{byte_order}'\n"
        f"NNNI-1\nI-1\nI0\ntbI00\nS'{data}'\ntb"
    )


def write_three_pairs(path, x_program):
    y_program = array_program("(I2\nt", "i4", data=r"\x01\x00\x00\x00" * 2)
    pair = f"({x_program}{y_program}t"
    path.write_bytes(f"({pair}{pair}{pair}t.".encode())


BAD_ARRAYS = {
    "too few bytes": {"shape": "(I2\nI4\nt"},
    "too many bytes": {"shape": "(I2\nI2\nt"},
    "giant": {"shape": "(I1000000000\nI1000000\nt"},
    "giant, but empty": {"shape": "(I0\nI4611686018427387904\nI4\nt", "data": ""},
    "negative": {"shape": "(I-2\nI-3\nt"},
    "a side of no pixels": {"shape": "(I2\nI0\nt", "data": ""},
    "no dimensions": {"shape": "(t", "data": r"\x00" * 4},
    "four dimensions": {"shape": "(I1\nI1\nI2\nI3\nt"},
    "shape of strings": {"shape": "(S'2'\nS'3'\nt"},
    "shape not a tuple": {"shape": "I6\n"},
    "one dimension": {"shape": "(I6\nt"},
    "object": {"code": "O8"},
    "void": {"code": "V4"},
    "string": {"code": "S4"},
    "unicode": {"code": "U1"},
    "complex": {"code": "c8", "shape": "(I3\nI1\nt"},
    "date": {"code": "M8"},
    "structure": {"code": "f4,f4"},
    "byte order": {"byte_order": "!"},
    "foreign escape": {"data": r"\q" + r"\x00" * 23},
    "unquoted": {"data": "'" + r"\x00" * 24 + "x'\n0S'"},
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_an_array_that_is_not_one_is_refused(name, tmp_path):
    path = tmp_path / "data.pkl"
    write_three_pairs(path, array_program())
    assert read_data(path).train[0].shape == (2, 3)
    write_three_pairs(path, array_program(**BAD_ARRAYS[name]))
    with pytest.raises(DataError, match=r"data\.pkl"):
        read_data(path)


PROGRAMS = {
    "empty": b"",
    "no opcode": b"\xff",
    "text": b"label,pixel1,pixel2\n",
    "empty stack": b"R.",
    "unknown memo": b"h\x07.",
    "leftovers on the stack": b"NN.",
    "no mark": b"NNt.",
    "two arrays": pickle.dumps(pair(3, 0)),
    "a dictionary": pickle.dumps({"x": pair(3, 0)}),
    "numbers": pickle.dumps([(1, 2)] * 3),
    "state of a global": b"cnumpy\nndarray\n(NtbcNumpy\n.",
    "state of a list": b"]Nb.",
    "appended to a tuple": b")Na.",
    "call of a call": b"cnumpy\ndtype\n)R)R.",
    "persistent": b"Pid\n.",
    "another codec": b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
    "giant string": b"T\xff\xff\xff\x7f",
    "giant bytes": b"B\xff\xff\xff\xff",
    "giant bytearray": b"\x96" + b"\xff" * 8,
    "giant integer": b"I" + b"9" * 5_000 + b"\n.",
    "giant memo index": b"Np" + b"9" * 5_000 + b"\n.",
    "deeply nested tuples": b")" + b"\x85" * 1_000_000 + b".",
    "deeply nested lists": b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "endless marks": b"(" * 1_000_000,
    "a list in itself": b"]q\x00h\x00a.",
    "exponential": b"\x80\x04)" + b"q\x00h\x00\x86" * 3_000 + b"N\x93.",
    "exponential name": b"\x80\x04)" + b"q\x00h\x00\x86" * 3_000 + b"\x8c\x01x\x93.",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_pickles_no_arrays_is_refused(name, tmp_path):
    path = tmp_path / "data.pkl"
    path.write_bytes(PROGRAMS[name])
    with pytest.raises(DataError, match=r"data\.pkl: ") as refusal:
        read_data(path)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("path", [SAMPLES[0], SAMPLES[2], SAMPLES[-1]], ids=lambda path: path.name)
def test_a_pickle_truncated_anywhere_or_with_a_tail_is_refused(path, tmp_path):
    whole = gzip.decompress(path.read_bytes())
    damaged = tmp_path / "mnist.pkl"
    for size in range(len(whole)):
        damaged.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"mnist\.pkl: "):
            read_data(damaged)
    for tail in (b"\0", b".", whole):
        damaged.write_bytes(whole + tail)
        with pytest.raises(DataError, match="left over"):
            read_data(damaged)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"B\0\0\0\x70", id="a declared string"),
        pytest.param(b"S'", id="an endless line"),
        pytest.param(b"cnumpy\n", id="an endless name"),
    ],
)
def test_a_gzip_bomb_is_refused_before_it_unfolds(head, tmp_path):
    path = tmp_path / "bomb.pkl.gz"
    zeros = gzip.compress(bytes(2**20))
    path.write_bytes(gzip.compress(head) + zeros * 300)  # 315 MB in 0.3
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"bomb\.pkl\.gz"):
            read_data(path)
        assert tracemalloc.get_traced_memory()[1] < 220e6
    finally:
        tracemalloc.stop()
