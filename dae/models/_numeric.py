"""The models' formulas on NumPy arrays: compiled when first used, a batch of rows at a time."""

import copy
from weakref import WeakKeyDictionary

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike, NDArray

from dae.random import RandomStreams

BATCH_SIZE = 240
"""Rows: few enough that a batch stays in the processor's cache, and twice the 120 rows that
`dae.compiler` multiplies at a time."""

# Beside the models, not in them: a copy, or what comes out of a pickle, compiles its own.
_compiled: WeakKeyDictionary = WeakKeyDictionary()


class NumericMethods:
    """The methods of an autoencoder that take and return arrays.

    The class that has them has also `get_corrupted_input`, `get_hidden_values` and
    `get_reconstructed_input`, `x`, `n_visible` and `n_hidden`.

    Attributes
    ----------
    mean, scale : ndarray, shape (n_visible,), or None
        What is subtracted from images, and what they are divided by then, before they are encoded;
        None, the default, for nothing.
    """

    x: pt.TensorVariable
    n_visible: int
    n_hidden: int
    mean: NDArray | None = None
    scale: NDArray | None = None

    def encode(self, images: ArrayLike) -> NDArray:
        """Compute the codes of images: the values of the hidden units, without noise.

        The formulas are compiled when they are first needed, once for each model, and applied to
        some hundred images at a time; so beside the result hardly any memory is taken.

        Parameters
        ----------
        images : array_like of uint8 or float, shape (n, n_visible)
            Bytes are divided by 256.

        Returns
        -------
        ndarray, shape (n, n_hidden)
            Of the dtype of `x`.

        Raises
        ------
        ValueError
            If `images` has another shape, or values that are neither bytes nor floats.

        Examples
        --------
        >>> import dae
        >>> from numpy.random import RandomState
        >>> images = dae.load_data()[2][0].get_value()
        >>> da = dae.Autoencoder(RandomState(1), n_hidden=5)
        >>> codes = da.encode(images)
        >>> codes.shape
        (1000, 5)
        >>> bool((da.decode(codes) == da.reconstruct(images)).all())
        True
        """
        images = _checked("images", images, self.n_visible, bytes_too=True)
        function, _ = _function(self, _codes)
        return _in_batches(
            lambda rows: function(_input_of(self, rows)), images, self.n_hidden, self.x.dtype
        )

    def decode(self, codes: ArrayLike) -> NDArray:
        """Compute images from codes.

        Parameters
        ----------
        codes : array_like of float, shape (n, n_hidden)

        Returns
        -------
        ndarray, shape (n, n_visible)
            Of the dtype of `x`.

        Raises
        ------
        ValueError
            If `codes` has another shape, or values that are no floats.
        """
        codes = _checked("codes", codes, self.n_hidden, bytes_too=False)
        function, _ = _function(self, _decoded)
        dtype = self.x.dtype
        return _in_batches(
            lambda rows: _pixels_of(self, function(np.ascontiguousarray(rows, dtype))),
            codes,
            self.n_visible,
            dtype,
        )

    def corrupt(
        self, images: ArrayLike, corruption_level: float, seed: int | None = None
    ) -> NDArray:
        """Compute images with noise.

        Parameters
        ----------
        images : array_like of uint8 or float, shape (n, n_visible)
            Bytes are divided by 256.
        corruption_level : float
            See `get_corrupted_input`.
        seed : int, optional
            Decides the noise, which `theano_rng` has no part in. By default one from the
            operating system.

        Returns
        -------
        ndarray, shape (n, n_visible)
            Of the dtype of `x`.

        Raises
        ------
        ValueError
            If `images` has another shape, or values that are neither bytes nor floats, or if the
            corruption level is impossible.
        """
        return _map_images(self, _corrupted, images, corruption_level, seed)

    def reconstruct(
        self, images: ArrayLike, corruption_level: float = 0, seed: int | None = None
    ) -> NDArray:
        """Compute the reconstructions of images, with noise added to them first if asked.

        Parameters
        ----------
        images : array_like of uint8 or float, shape (n, n_visible)
            Bytes are divided by 256.
        corruption_level : float, default=0
            See `get_corrupted_input`.
        seed : int, optional
            Decides the noise: that which `corrupt` adds with the same seed. By default one from
            the operating system.

        Returns
        -------
        ndarray, shape (n, n_visible)
            Of the dtype of `x`.

        Raises
        ------
        ValueError
            As for `corrupt`.
        """
        return _map_images(self, _reconstructed, images, corruption_level, seed)


def _map_images(model, formula, images, corruption_level, seed):
    """Return the images that a formula makes of images, the noise decided by a seed."""
    images = _checked("images", images, model.n_visible, bytes_too=True)
    function, theano_rng = _function(model, formula, float(corruption_level))
    theano_rng.seed(seed)
    return _in_batches(
        lambda rows: _pixels_of(model, function(_input_of(model, rows))),
        images,
        model.n_visible,
        model.x.dtype,
    )


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


def _in_batches(function, array, n_columns, dtype):
    """Return what a function makes of the rows of an array, a batch at a time."""
    out = np.empty((len(array), n_columns), dtype)
    for start in range(0, len(array), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        out[rows] = function(array[rows])
    return out


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
