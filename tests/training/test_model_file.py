"""Model files: what comes back is what was saved; what is no model file is refused, harmlessly."""

import io
import json
import os
import pickle
import re
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.random import RandomState
from numpy.testing import assert_array_equal

import dae
from dae import Autoencoder, DenoisingAutoencoder, ModelError, load_model, save_model
from dae.training import model_file
from dae.training.model_file import load_autoencoder

VERSION_0_1 = Path(__file__).with_name("data") / "run_of_version_0.1" / "expected.npz"


def new_model(kind=DenoisingAutoencoder, dtype="float64", **settings):
    with pytensor.config.change_flags(floatX=dtype):
        return kind(RandomState(1), n_visible=6, n_hidden=2, **settings)


def to_bytes(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def read_arrays(path):
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


@pytest.fixture
def path(tmp_path):
    """A model file."""
    path = tmp_path / "model.npz"
    save_model(path, new_model(), {"image_shape": [2, 3], "corruption_level": 0.3})
    return path


@pytest.fixture
def write(tmp_path):
    """Write a model file whose arrays are other ones, None for none."""

    def write(**changes):
        path = tmp_path / "changed.npz"
        save_model(path, new_model(), {"image_shape": [2, 3]})
        changed = read_arrays(path) | changes
        path.write_bytes(to_bytes(**{k: v for k, v in changed.items() if v is not None}))
        return path

    return write


def assert_same(found, expected):
    assert type(found) is type(expected)
    assert found.x.dtype == expected.x.dtype
    for ours, theirs in zip(found.params, expected.params, strict=True):
        assert ours.name == theirs.name
        assert ours.dtype == theirs.dtype
        assert ours.get_value().tobytes() == theirs.get_value().tobytes()


# What is saved, and comes back


def test_a_file_explains_itself(path):
    found = read_arrays(path)
    assert list(found) == ["W", "b", "b_prime", "format_version", "about"]
    assert found["format_version"] == 1
    assert json.loads(str(found["about"])) == {
        "kind": "DenoisingAutoencoder",
        "dtype": "float64",
        "pixels": "bytes / 256",
        "cost": "cross-entropy",
        "corruption": "masking",
        "image_shape": [2, 3],
        "corruption_level": 0.3,
        "versions": {
            "dae": dae.__version__,
            "pytensor": pytensor.__version__,
            "numpy": np.__version__,
        },
    }


@pytest.mark.parametrize("kind", [Autoencoder, DenoisingAutoencoder])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_model_comes_back_to_the_bit(tmp_path, kind, dtype):
    model = new_model(kind, dtype)
    save_model(tmp_path / "model.npz", model, {"image_shape": [2, 3]})
    found = load_model(tmp_path / "model.npz")
    assert_same(found, model)
    assert found.about["image_shape"] == [2, 3]
    x = RandomState(2).uniform(size=(4, 6))
    assert_array_equal(found.encode(x), model.encode(x))
    assert_array_equal(found.reconstruct(x, 0.5, seed=1), model.reconstruct(x, 0.5, seed=1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Autoencoder, {"cost": "squared-error"}),
        (Autoencoder, {"tied_weights": False}),
        (DenoisingAutoencoder, {"corruption": "salt-and-pepper"}),
        (DenoisingAutoencoder, {
            "corruption": "gaussian", "cost": "squared-error", "tied_weights": False
        }),
    ],
)  # fmt: skip
def test_cost_noise_and_weights_that_are_not_tied_come_back(tmp_path, kind, settings, dtype):
    model = new_model(kind, dtype, **settings)
    save_model(tmp_path / "model.npz", model)
    found = load_model(tmp_path / "model.npz")
    assert_same(found, model)
    assert found.about["cost"] == found.cost == model.cost
    assert found.about.get("corruption") == getattr(model, "corruption", None)
    assert ("W_prime" in read_arrays(tmp_path / "model.npz")) == (len(model.params) == 4)
    x = RandomState(2).uniform(size=(4, 6))
    assert_array_equal(found.reconstruct(x, 0.5, seed=1), model.reconstruct(x, 0.5, seed=1))


floats = st.floats(width=32) | st.just(-0.0)
dtypes = st.sampled_from(["float32", "float64"])


@given(
    st.tuples(dtypes, st.integers(1, 3), st.integers(1, 3)).flatmap(
        lambda given: st.tuples(
            arrays(given[0], given[1:], elements=floats),
            arrays(given[0], given[2], elements=floats),
            arrays(given[0], given[1], elements=floats),
        )
    ),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_any_parameters_come_back(params, is_fortran):
    W, b, b_prime = params
    W = np.asarray(W, order="F" if is_fortran else "C")
    W, b, b_prime = (
        pytensor.shared(value, name=name)
        for name, value in {"W": W, "b": b, "b_prime": b_prime}.items()
    )
    with pytensor.config.change_flags(floatX=W.dtype):
        model = Autoencoder(RandomState(1), W=W, bhid=b, bvis=b_prime)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder, "model.npz"), model)
        assert_same(load_model(Path(folder, "model.npz")), model)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_mean_and_scale_are_kept(tmp_path, dtype):
    model = new_model(dtype=dtype)
    model.mean, model.scale = RandomState(2).uniform(1, 2, size=(2, 6)).astype(dtype)
    save_model(tmp_path / "model.npz", model)
    found = load_model(tmp_path / "model.npz")
    assert_same(found, model)
    assert_array_equal(found.mean, model.mean)
    assert_array_equal(found.scale, model.scale)
    assert found.about["pixels"] == "(bytes / 256 - mean) / scale"
    x = RandomState(2).uniform(size=(4, 6))
    assert_array_equal(found.reconstruct(x), model.reconstruct(x))


def test_a_file_object_a_string_and_a_name_without_an_ending_will_do(tmp_path, path):
    file = io.BytesIO()
    about = {"image_shape": [2, 3], "corruption_level": 0.3}
    save_model(file, new_model(), about)
    save_model(str(tmp_path / "model"), new_model(), about)
    assert (tmp_path / "model").read_bytes() == file.getvalue() == path.read_bytes()
    assert_same(load_model(str(tmp_path / "model")), new_model())
    assert sorted(os.listdir(tmp_path)) == ["model", "model.npz"]


def test_what_cannot_be_written_leaves_what_was_there(path, tmp_path):
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_model(path, new_model(), {"image_shape": {1, 2}})
    assert path.read_bytes() == before
    with pytest.raises(OSError, match="none") as caught:
        save_model(tmp_path / "none" / "model.npz", new_model())
    assert caught.value.filename == str(tmp_path / "none" / "model.npz")


def test_a_file_of_version_0_1_loads(tmp_path):
    model = load_model(VERSION_0_1)
    assert type(model) is DenoisingAutoencoder
    assert model.about == {}
    for name, array in read_arrays(VERSION_0_1).items():
        assert_array_equal(getattr(model, name).get_value(), array)
    (tmp_path / "model.npz").write_bytes(VERSION_0_1.read_bytes())
    assert_same(load_model(tmp_path), model)
    x = RandomState(1).uniform(size=(3, model.n_visible))
    assert_array_equal(model.decode(model.encode(x)), model.reconstruct(x))


def test_a_model_that_came_back_is_trained_further(path):
    model = load_model(path)
    x = pytensor.shared(RandomState(1).uniform(size=(40, 6)))
    train_da = dae.compile_train_da(
        model, x, batch_size=20, corruption_level=0.3, learning_rate=0.1
    )
    before = model.W.get_value()
    train_da(0)
    assert (model.W.get_value() != before).all()


def test_arrays_of_the_other_byte_order_are_read(write):
    path = write(**{name: value.astype(">f8") for name, value in values(new_model()).items()})
    assert_same(load_model(path), new_model())


def values(model):
    return {param.name: param.get_value() for param in model.params}


# What is refused


def refused(path):
    """The message of the refusal, which is one line."""
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    return message


def test_what_is_not_there_is_refused(tmp_path):
    for name, words in [
        ("none", "none: no such file; expected a run directory or a model file"),
        ("", "holds no model.npz; expected a run directory whose training has ended, or a model"),
        ("/dev/null", "/dev/null: no such file"),
    ]:
        assert words in refused(tmp_path / name)
    (tmp_path / "run" / "model.npz").mkdir(parents=True)
    assert "model.npz: no such file" in refused(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(path):
    path.chmod(0)
    assert refused(path) == f"cannot read {path}: Permission denied"


@pytest.mark.parametrize(
    "content", [b"", b"text", pickle.dumps({"W": 1}), b"PK\5\6" + bytes(18), to_bytes(a=1)[:-3]]
)
def test_what_is_no_model_file_is_refused(tmp_path, content):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    assert re.search(r"damaged, or not a model file: \w|holds arrays named ''", refused(path))


def test_arrays_of_something_else_are_refused(tmp_path):
    (tmp_path / "data.npz").write_bytes(to_bytes(train_x=np.zeros(3), train_y=np.zeros(3)))
    expected = "holds arrays named 'train_x, train_y'; expected a model.npz of dae"
    assert refused(tmp_path / "data.npz") == f"{tmp_path}/data.npz: {expected}"
    checkpoint = VERSION_0_1.with_name("checkpoint.npz")
    assert "checkpoint.npz: " in refused(checkpoint)


def test_a_later_format_is_refused_with_advice(path, monkeypatch):
    monkeypatch.setattr(model_file, "FORMAT_VERSION", 2)
    save_model(path, new_model())
    monkeypatch.undo()
    assert refused(path) == (
        f"{path}: a model file of format 2; this version of dae, {dae.__version__}, reads format "
        "1: use the version that wrote it, or a newer one"
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["LogisticRegression", "StackedDenoisingAutoencoder"])
def test_classifiers_come_back_to_the_bit(path, kind, dtype):
    with pytensor.config.change_flags(floatX=dtype):
        if kind == "LogisticRegression":
            model = dae.LogisticRegression(pt.matrix("x"), 6, 3)
        else:
            model = dae.StackedDenoisingAutoencoder(RandomState(1), None, 6, (5, 4), 3)
    for param in model.params:
        param.set_value(RandomState(2).normal(size=param.get_value().shape).astype(dtype))
    save_model(path, model, {"image_shape": [2, 3]})
    loaded = load_model(path)
    assert type(loaded).__name__ == kind
    assert loaded.about["image_shape"] == [2, 3]
    for param, expected in zip(loaded.params, model.params, strict=True):
        assert param.dtype == dtype
        assert param.name == expected.name
        assert_array_equal(param.get_value(), expected.get_value())
    x = RandomState(3).uniform(size=(7, 6)).astype(dtype)
    y = np.zeros(7, "int32")
    losses = [m.get_validation_loss().eval({m.x: x, m.y: y}) for m in (model, loaded)]
    assert losses[0] == losses[1]
    with pytest.raises(ModelError, match=f"holds a {kind}; expected an autoencoder"):
        load_autoencoder(path)


@pytest.mark.parametrize("change", ["a layer is missing", "a bias is too long"])
def test_a_stack_whose_layers_do_not_fit_is_refused(path, change):
    model = dae.StackedDenoisingAutoencoder(RandomState(1), None, 6, (5, 4), 3)
    save_model(path, model)
    with np.load(path) as archive:
        arrays = dict(archive)
    if change == "a layer is missing":
        del arrays["W_1"], arrays["b_1"]
    else:
        arrays["b_1"] = np.zeros(9)
    np.savez(path, **arrays)
    with pytest.raises(ModelError, match="damaged, or not a model file: it holds arrays of the"):
        load_model(path)


def test_a_model_of_a_kind_of_ones_own_is_saved_but_not_read_back(path):
    class Mine(DenoisingAutoencoder):
        pass

    save_model(path, new_model(Mine))
    assert refused(path) == (
        f"{path}: holds a model of the kind 'Mine'; expected one of Autoencoder, "
        "DenoisingAutoencoder, LogisticRegression, StackedDenoisingAutoencoder (numpy.load reads "
        "the arrays of any)"
    )
    assert_array_equal(read_arrays(path)["W"], new_model().W.get_value())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"W": None}, "damaged, or not a model file: 'W'"),
        ({"b": None}, "it holds arrays of the shapes {'W': (6, 2), 'b_prime': (6,)}"),
        ({"about": None}, "damaged, or not a model file: 'about'"),
        ({"about": "no JSON"}, "damaged, or not a model file: Expecting value"),
        ({"about": "[]"}, "damaged, or not a model file: "),
        ({"about": "[" * 100_000}, "damaged, or not a model file: "),
        ({"about": '{"kind": ["Autoencoder"]}'}, "holds a model of the kind \"['Autoenc"),
        ({"about": '{"kind": "os.system"}'}, "holds a model of the kind 'os.system'"),
        ({"about": '{"image_shape": [2, 2]}'}, "6 visible units, images of shape [2, 2]"),
        ({"about": '{"image_shape": "23"}'}, "damaged, or not a model file: "),
        ({"format_version": np.array([1, 1])}, "damaged, or not a model file: "),
        ({"format_version": "1"}, "a model file of format 1; this"),
        ({"about": '{"cost": "none"}'}, "its cost is 'none'"),
        ({"about": '{"corruption": {}}'}, "damaged, or not a model file: "),
        ({"W": np.zeros((6, 3))}, "it holds arrays of the shapes {'W': (6, 3), 'b': (2,), "),
        ({"W": np.zeros(6)}, "damaged, or not a model file: "),
        ({"W": np.zeros((6, 2, 1))}, "damaged, or not a model file: "),
        ({"W_prime": np.zeros((6, 2))}, "it holds arrays of the shapes "),
        ({"W": np.zeros((6, 2), "float32")}, "its arrays are of float32, float64"),
        ({"W": np.zeros((6, 2), complex)}, "its arrays are of complex128, float64"),
        ({"W": np.array("x")}, "its arrays are of "),
        ({"W": np.zeros((6, 2), [("x", "f8")])}, "its arrays are of "),
        ({"W_prime": np.zeros((2, 6)), "more": np.zeros(2)}, "it holds arrays of the shapes "),
        ({"mean": np.zeros(6)}, "it holds arrays of the shapes "),
        ({"scale": np.zeros(6)}, "it holds arrays of the shapes "),
        ({"mean": np.zeros(5), "scale": np.ones(6)}, "it holds arrays of the shapes "),
    ],
)
def test_arrays_that_make_no_model_are_refused(write, changes, words):
    assert words in refused(write(**changes))


def test_damage_anywhere_is_noticed_or_harmless(path):
    content = bytearray(path.read_bytes())
    n_noticed = 0
    for i in range(len(content)):
        content[i] ^= 0x55
        path.write_bytes(content)
        try:
            found = load_model(path)
        except ModelError:
            n_noticed += 1
        else:  # such as the date of an array
            assert_same(found, new_model())
        content[i] ^= 0x55
    assert n_noticed > len(content) / 2


def test_a_file_cut_off_anywhere_is_refused(path):
    content = path.read_bytes()
    for size in range(0, len(content), 7):
        path.write_bytes(content[:size])
        assert "damaged, or not a model file: " in refused(path)


# What wants to do harm


class Bomb:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_file_is_executed(write, tmp_path):
    trap = tmp_path / "trap"
    boobytrapped = np.array(Bomb(trap), dtype=object)
    assert "Object arrays cannot be loaded" in refused(write(W=boobytrapped))
    assert "Object arrays cannot be loaded" in refused(write(about=boobytrapped))
    plain = write()
    code = f"__import__('os').mkdir({str(trap)!r})"
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {code}}}\n".encode()
    content = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(plain) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(plain, "w") as archive:
        for name, member in (members | {"W.npy": content}).items():
            archive.writestr(name, member)
    assert "damaged, or not a model file: " in refused(plain)
    plain.write_bytes(pickle.dumps(Bomb(trap)))
    assert "damaged, or not a model file: " in refused(plain)
    assert not trap.exists()


def test_a_bomb_takes_no_memory(tmp_path):
    packed, lying = tmp_path / "packed.npz", tmp_path / "lying.npz"
    np.savez_compressed(packed, W=np.zeros((2000, 2000)), b=np.zeros(2), b_prime=np.zeros(2))
    header = io.BytesIO()
    huge = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6)}
    np.lib.format.write_array_header_1_0(header, huge)
    with zipfile.ZipFile(lying, "w") as archive:
        archive.writestr("W.npy", header.getvalue() + bytes(100))
    assert "damaged, or not a model file: " in refused(lying)
    tracemalloc.start()
    assert "its arrays are packed, or larger than the file" in refused(packed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21
