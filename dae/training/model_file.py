"""Model files: the arrays of a trained model, and what it takes to use them.

A file is an .npz archive without pickles, which `numpy.load` reads as well. Its arrays:

- the parameters under their names, such as ``W``, ``b``, ``b_prime``;
- ``mean`` and ``scale``, if the model standardizes its images: what is subtracted from pixels, and
  what they are divided by then;
- ``format_version``: 1;
- ``about``: JSON text, with the ``kind`` of the model (the name of its class), its ``dtype``, what
  else belongs to the kind (such as ``cost`` and ``corruption``), what the ``pixels`` are that it
  expects, what the training knew (such as ``image_shape`` and ``corruption_level``), and the
  ``versions`` of the software that wrote it.

A file without the last two is one of version 0.1: three arrays of an autoencoder.
"""

import json
import math
import warnings
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.random import RandomState

import dae
from dae._files import atomic_write
from dae.models import (
    Autoencoder,
    DenoisingAutoencoder,
    LogisticRegression,
    StackedDenoisingAutoencoder,
)
from dae.models.costs import COSTS
from dae.models.noise import NOISES
from dae.training._state import named

FORMAT_VERSION = 1

KINDS = {
    kind.__name__: kind
    for kind in (
        Autoencoder,
        DenoisingAutoencoder,
        LogisticRegression,
        StackedDenoisingAutoencoder,
    )
}
"""The models that are read back, by the name of their class."""

SETTINGS = {"cost": COSTS, "corruption": NOISES}
"""Attributes of an autoencoder that belong to it besides its arrays, and what they may be."""


class ModelError(ValueError):
    """A model file cannot be used; the message is one line.

    Examples
    --------
    >>> load_model("none")
    Traceback (most recent call last):
        ...
    dae.training.model_file.ModelError: none: no such file; expected a run directory or a model file
    """


def save_model(path_or_file, model, about=None):
    """Write a trained model to a file, which `load_model` reads.

    Parameters
    ----------
    path_or_file : path-like or binary file
        Where to write. At a path the file appears whole or not at all; one that is there is
        replaced.
    model : object
        It has `params`, a list of shared variables. `load_model` reads back the models of this
        package; of others, `numpy.load` reads the arrays.
    about : dict, optional
        What else to keep, of values that JSON can hold: such as ``image_shape``, the shape of an
        image, and ``corruption_level``.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import dae
    >>> from numpy.random import RandomState
    >>> da = dae.DenoisingAutoencoder(RandomState(1), n_visible=6, n_hidden=2)
    >>> save_model("model.npz", da, {"image_shape": [2, 3]})
    >>> load_model("model.npz").about["image_shape"]
    [2, 3]
    """
    arrays = {name: param.get_value(borrow=True) for name, param in named(model.params).items()}
    record = {"kind": type(model).__name__, "dtype": model.x.dtype, "pixels": "bytes / 256"}
    if isinstance(model, Autoencoder):
        record |= {name: getattr(model, name) for name in SETTINGS if hasattr(model, name)}
        if model.mean is not None:
            arrays |= {
                name: np.broadcast_to(getattr(model, name), model.n_visible).astype(model.x.dtype)
                for name in ("mean", "scale")
            }
            record["pixels"] = "(bytes / 256 - mean) / scale"
    versions = {name: version(name) for name in ("pytensor", "numpy")}
    record |= (about or {}) | {"versions": {"dae": dae.__version__} | versions}
    arrays |= {"format_version": FORMAT_VERSION, "about": json.dumps(record, indent=2)}
    if hasattr(path_or_file, "write"):
        np.savez(path_or_file, **arrays)
    else:
        with atomic_write(Path(path_or_file)) as path, path.open("wb") as file:
            np.savez(file, **arrays)


def load_model(run_or_file):
    """Read a trained model.

    Nothing in the file is executed.

    Parameters
    ----------
    run_or_file : path-like
        A run directory, for the ``model.npz`` in it, or a file that `save_model` wrote. A file of
        version 0.1 says nothing but the parameters: it is taken for the `DenoisingAutoencoder`
        that the worksheet trains.

    Returns
    -------
    Autoencoder, DenoisingAutoencoder, LogisticRegression or StackedDenoisingAutoencoder
        A model to build graphs with; an autoencoder also to apply to arrays: ``encode``,
        ``decode``, ``reconstruct``. Its parameters are to the bit those that were saved; its noise
        has a seed of the operating system. Its attribute ``about``, a dictionary, is what the file
        says of it, such as ``image_shape``; that of a file of version 0.1 is empty.

    Raises
    ------
    ModelError
        If there is no such file, or it is damaged, of something else, or of a later format.

    Examples
    --------
    >>> import dae
    >>> images = dae.load_data()[0][0]
    >>> with dae.Run("runs/mine") as run:
    ...     _ = dae.fit(dae.Config(n_hidden=5, training_epochs=1), images, run=run)
    >>> load_model("runs/mine").encode(images.get_value()[:3]).shape
    (3, 5)
    """
    path = Path(run_or_file)
    if path.is_dir():
        path /= "model.npz"
        if not path.exists():
            raise ModelError(
                f"{path.parent} holds no model.npz; expected a run directory whose training has "
                "ended, or a model file"
            )
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected a run directory or a model file")
    try:
        return _build_model(_read_arrays(path))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file may have anything raised, by zipfile or NumPy too
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{path}: damaged, or not a model file: {reason}") from error


def load_autoencoder(run_or_file):
    """Read a trained autoencoder, as `load_model` does.

    Parameters
    ----------
    run_or_file : path-like
        As for `load_model`.

    Returns
    -------
    Autoencoder

    Raises
    ------
    ModelError
        As `load_model` does, and if it is a model of another kind.
    """
    model = load_model(run_or_file)
    if not isinstance(model, Autoencoder):
        raise ModelError(
            f"{run_or_file} holds a {type(model).__name__}; expected an autoencoder, such as a "
            "layer of a stack is"
        )
    return model


def _read_arrays(path):
    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            # What numpy.savez writes is not packed; so what is read is no larger than the file.
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("its arrays are packed, or larger than the file")
        file.seek(0)
        with warnings.catch_warnings(), np.load(file, allow_pickle=False) as arrays:
            warnings.simplefilter("error", UserWarning)  # of odd headers
            return dict(arrays)


def _build_model(arrays):
    version = arrays.pop("format_version", None)
    if version is None and arrays.keys() == {"W", "b", "b_prime"}:
        about = {}
    elif version is None:
        raise ModelError(
            f"holds arrays named {', '.join(arrays)[:100]!r}; expected a model.npz of dae"
        )
    elif version != FORMAT_VERSION:
        raise ModelError(
            f"a model file of format {version}; this version of dae, {dae.__version__}, reads "
            f"format {FORMAT_VERSION}: use the version that wrote it, or a newer one"
        )
    else:
        about = json.loads(str(arrays.pop("about")))
    kind = str(about.get("kind", "DenoisingAutoencoder"))
    if kind not in KINDS:
        raise ModelError(
            f"holds a model of the kind {kind[:40]!r}; expected one of {', '.join(KINDS)} "
            "(numpy.load reads the arrays of any)"
        )
    dtypes = {array.dtype.name for array in arrays.values()}
    if dtypes not in ({"float64"}, {"float32"}):
        raise ValueError(f"its arrays are of {', '.join(sorted(dtypes))}")
    arrays = {
        name: np.asarray(array, array.dtype.newbyteorder("=")) for name, array in arrays.items()
    }
    n_visible = len(arrays["W"])
    image_shape = about.get("image_shape")
    if image_shape is not None and math.prod(image_shape) != n_visible:
        raise ValueError(f"{n_visible} visible units, images of shape {image_shape}")
    if issubclass(KINDS[kind], Autoencoder):
        model = _build_autoencoder(KINDS[kind], arrays, about)
    else:
        model = _build_classifier(KINDS[kind], arrays, *dtypes)
    model.about = about
    return model


def _build_autoencoder(kind, arrays, about):
    n_visible, n_hidden = arrays["W"].shape
    shapes = {
        "W": (n_visible, n_hidden),
        "b": (n_hidden,),
        "b_prime": (n_visible,),
        "W_prime": (n_hidden, n_visible),
        "mean": (n_visible,),
        "scale": (n_visible,),
    }
    found = {name: array.shape for name, array in arrays.items()}
    names = {"W", "b", "b_prime", *found}
    if names & {"mean", "scale"}:
        names |= {"mean", "scale"}
    if found != {name: shape for name, shape in shapes.items() if name in names}:
        raise ValueError(f"it holds arrays of the shapes {found}")
    settings = {name: arrays.pop(name) for name in ("mean", "scale") if name in arrays}
    for name, known in SETTINGS.items():
        if name in about:
            if about[name] not in known:
                raise ValueError(f"its {name} is {about[name]!r}")
            settings[name] = about[name]
    model = kind.__new__(kind)
    model.__setstate__((*(arrays[name] for name in shapes if name in arrays), settings))
    return model


def _build_classifier(kind, arrays, dtype):
    weights = [array for array in arrays.values() if array.ndim == 2]
    n_in, n_out = weights[0].shape[0], weights[-1].shape[1]
    with pytensor.config.change_flags(floatX=dtype):
        if kind is LogisticRegression:
            model = LogisticRegression(pt.matrix("x"), n_in, n_out)
        else:
            sizes = [W.shape[1] for W in weights[:-1]]
            model = StackedDenoisingAutoencoder(RandomState(), None, n_in, sizes, n_out)
    params = named(model.params)
    found, expected = (
        {name: value.shape for name, value in values.items()}
        for values in (arrays, {name: param.get_value() for name, param in params.items()})
    )
    if found != expected:
        raise ValueError(f"it holds arrays of the shapes {found}; expected {expected}")
    for name, param in params.items():
        param.set_value(arrays[name])
    return model
