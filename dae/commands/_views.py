"""Images as a model sees them, for pictures."""

import copy
from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode

from dae.random import RandomStreams

NUMPY = Mode("py", "fast_compile")
"""For a few calls, which are not worth machine code, nor the C of PyTensor's other modes."""


class Views(NamedTuple):
    """Images, and what a model makes of them.

    Attributes
    ----------
    original, corrupted : ndarray, shape (n_images, n_visible)
        The images without and with noise.
    reconstructed, denoised : ndarray, shape (n_images, n_visible)
        Their reconstructions.
    codes : ndarray, shape (n_images, n_hidden)
        The hidden values of the images without noise.
    """

    original: np.ndarray
    corrupted: np.ndarray
    reconstructed: np.ndarray
    denoised: np.ndarray
    codes: np.ndarray

    def in_range(self, n):
        """Return the first images of all kinds but codes, clipped to what can be drawn.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        list of ndarray, shape (n, n_visible)
            In the order of the attributes, in [0, 1].
        """
        return [np.clip(images[:n], 0, 1) for images in self[:4]]


def compile_view(model, corruption_level, seed):
    """Compile what a model makes of images.

    Parameters
    ----------
    model : Autoencoder
    corruption_level : float
    seed : int
        Of the noise, which is not that of the model's own streams.

    Returns
    -------
    callable
        From images, shape (n_images, n_visible), of the model's dtype, to `Views`.
    """
    model = copy.copy(model)
    model.theano_rng = RandomStreams(seed)

    def reconstruct(x):
        return model.get_reconstructed_input(model.get_hidden_values(x))

    with pytensor.config.change_flags(floatX=model.x.dtype):
        images = pt.matrix("images")
        x = standardize(model, images)
        tilde_x = model.get_corrupted_input(x, corruption_level) if corruption_level else x
        pictures = [tilde_x, reconstruct(x), reconstruct(tilde_x)]
        if model.mean is not None:
            pictures = [x * model.scale + model.mean for x in pictures]
        function = pytensor.function(
            [images],
            [*pictures, model.get_hidden_values(x)],
            updates=model.theano_rng.updates(pictures),
            mode=NUMPY,
        )
    return lambda images: Views(images, *function(images))


def standardize(model, images):
    """Return what a model is given for images.

    Parameters
    ----------
    model : Autoencoder
    images : ndarray or matrix, shape (n_images, n_visible)

    Returns
    -------
    ndarray or matrix, shape (n_images, n_visible)
        The images themselves, if the model does not standardize them.
    """
    return images if model.mean is None else (images - model.mean) / model.scale
