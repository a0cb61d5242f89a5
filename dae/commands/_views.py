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

N_VIEWED = 1000
"""So many images are viewed at a time; those of a page decide the order of its units."""

N_DRAWN = 100
"""So many of them are drawn."""


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

    def to_draw(self):
        """Return the first images of all kinds but codes, clipped to what can be drawn.

        Returns
        -------
        list of ndarray, shape (`N_DRAWN`, n_visible)
            In the order of the attributes, in [0, 1].
        """
        return [np.clip(images[:N_DRAWN], 0, 1) for images in self[:4]]


def choose_images(n_images, labels):
    """Choose the images to view, those to draw first.

    Parameters
    ----------
    n_images : int
        How many there are.
    labels : ndarray of int, shape (n_images,), or None
        Their classes.

    Returns
    -------
    ndarray of int
        The numbers of the first images; where one class comes after the other, as from folders,
        of images from all of them.
    """
    numbers = np.arange(n_images)
    if labels is not None and np.all(np.diff(labels) >= 0):
        step = -(-n_images // N_DRAWN)
        numbers = np.concatenate([numbers[start::step] for start in range(step)])
    return numbers[:N_VIEWED]


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
