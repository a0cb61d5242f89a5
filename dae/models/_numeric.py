"""The models' formulas on NumPy arrays: compiled when first used, a batch of rows at a time."""

import copy
from weakref import WeakKeyDictionary

import numpy as np
import pytensor
import pytensor.tensor as pt

from dae.random import RandomStreams

BATCH_SIZE = 240
"""Rows: few enough that a batch stays in the processor's cache, and twice the 120 rows that
`dae.compiler` multiplies at a time."""

# Beside the models, not in them: a copy, or what comes out of a pickle, compiles its own.
_compiled: WeakKeyDictionary = WeakKeyDictionary()


def encode(model, images):
    """Compute the values of the hidden units; see `dae.Autoencoder.encode`."""
    images = _checked("images", images, model.n_visible, bytes_too=True)
    function, _ = _function(model, _codes)
    codes = np.empty((len(images), model.n_hidden), model.x.dtype)
    for rows in _batches(len(images)):
        codes[rows] = function(_input_of(model, images[rows]))
    return codes


def decode(model, codes):
    """Compute images from the values of hidden units; see `dae.Autoencoder.decode`."""
    codes = _checked("codes", codes, model.n_hidden, bytes_too=False)
    function, _ = _function(model, _decoded)
    images = np.empty((len(codes), model.n_visible), model.x.dtype)
    for rows in _batches(len(codes)):
        images[rows] = _pixels_of(model, function(np.ascontiguousarray(codes[rows], images.dtype)))
    return images


def corrupt(model, images, corruption_level, seed):
    """Compute images with noise; see `dae.Autoencoder.corrupt`."""
    return _map_images(model, _corrupted, images, corruption_level, seed)


def reconstruct(model, images, corruption_level, seed):
    """Compute reconstructions of images; see `dae.Autoencoder.reconstruct`."""
    return _map_images(model, _reconstructed, images, corruption_level, seed)


def _map_images(model, formula, images, corruption_level, seed):
    images = _checked("images", images, model.n_visible, bytes_too=True)
    function, theano_rng = _function(model, formula, float(corruption_level))
    theano_rng.seed(seed)
    out = np.empty((len(images), model.n_visible), model.x.dtype)
    for rows in _batches(len(images)):
        out[rows] = _pixels_of(model, function(_input_of(model, images[rows])))
    return out


def _codes(model, x):
    return model.get_hidden_values(x)


def _decoded(model, y):
    return model.get_reconstructed_input(y)


def _corrupted(model, x, corruption_level):
    return x if corruption_level == 0 else model.get_corrupted_input(x, corruption_level)


def _reconstructed(model, x, corruption_level):
    return _decoded(model, _codes(model, _corrupted(model, x, corruption_level)))


def _function(model, formula, *settings):
    """Return the compiled formula, and the streams that it draws from.

    They are not those of the model, which a training goes on with.
    """
    functions = _compiled.setdefault(model, {})
    key = formula, *settings
    if key not in functions:
        model = copy.copy(model)
        model.theano_rng = RandomStreams()
        with pytensor.config.change_flags(floatX=model.x.dtype):
            batch = pt.matrix()
            out = formula(model, batch, *settings)
            functions[key] = (
                pytensor.function([batch], out, updates=model.theano_rng.updates()),
                model.theano_rng,
            )
    return functions[key]


def _checked(name, array, n_columns, bytes_too):
    """Return what a user gave as an array; raise ValueError if it does not fit the model."""
    array = np.asarray(array)
    if array.ndim != 2 or array.shape[1] != n_columns:
        raise ValueError(
            f"{name} has the shape {array.shape}; expected (n, {n_columns}), one in each row"
        )
    if array.dtype.kind != "f" and not (bytes_too and array.dtype == np.uint8):
        expected = "bytes (uint8) or floats" if bytes_too else "floats"
        raise ValueError(f"{name} has the dtype {array.dtype}; expected {expected}")
    return array


def _batches(n_rows):
    return [slice(start, start + BATCH_SIZE) for start in range(0, n_rows, BATCH_SIZE)]


def _input_of(model, images):
    """Return what the model is given for images: floats of its dtype, standardized if it is."""
    if images.dtype == np.uint8:
        x = np.multiply(images, 1 / 256, dtype=model.x.dtype, order="C")
    else:
        x = np.ascontiguousarray(images, model.x.dtype)
    if model.mean is not None:
        x = (x - model.mean) / model.scale
    return np.asarray(x, model.x.dtype)


def _pixels_of(model, x):
    """Return images from what the model gives for them."""
    return x if model.mean is None else x * model.scale + model.mean
