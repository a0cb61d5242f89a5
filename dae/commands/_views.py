"""Images as a model sees them, for pictures."""

import copy
from typing import NamedTuple

import numpy as np
import pytensor

from dae.random import RandomStreams


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
    with pytensor.config.change_flags(floatX=model.x.dtype):
        x = model.x
        tilde_x = model.get_corrupted_input(x, corruption_level) if corruption_level else x
        y = model.get_hidden_values(x)
        z = model.get_reconstructed_input(y)
        denoised = model.get_reconstructed_input(model.get_hidden_values(tilde_x))
        outputs = [tilde_x, z, denoised, y]
        # A few calls: not worth machine code.
        function = pytensor.function(
            [x], outputs, updates=model.theano_rng.updates(outputs), mode="FAST_COMPILE"
        )
    return lambda images: Views(images, *function(images))
