"""Noise, as expressions over the streams of `RandomStreams`.

Here a part of twelve grey pixels is hidden:

>>> from dae import RandomStreams
>>> masking_noise(RandomStreams(1), 0.5 * pt.ones((2, 6)), 0.3).eval()
array([[0. , 0.5, 0.5, 0.5, 0. , 0.5],
       [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])
"""

import pytensor.tensor as pt

MAX_LEVELS = {"masking": 1, "salt-and-pepper": 1, "gaussian": 1e38}
"""The largest corruption level of each kind of noise; the smallest is 0: no noise."""


def masking_noise(theano_rng, input, corruption_level):
    """Set a part of the input to zero.

    Parameters
    ----------
    theano_rng : RandomStreams
        Where the mask is drawn from, as one new stream.
    input : matrix, shape (batch_size, n_visible)
    corruption_level : float or scalar
        Probability that a value is hidden, in [0, 1].

    Returns
    -------
    matrix, shape (batch_size, n_visible)
        The mask times the input.

    Raises
    ------
    ValueError
        If the corruption level is a number outside [0, 1].
    """
    _check_level("masking", corruption_level)
    survives = theano_rng.binomial(size=input.shape, n=1, p=1 - corruption_level, dtype=input.dtype)
    return survives * input


def salt_and_pepper_noise(theano_rng, input, corruption_level):
    """Set a part of the input to 0 or 1, with equal probability.

    From Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked Denoising Autoencoders", 2010.

    Parameters
    ----------
    theano_rng : RandomStreams
        Where the noise is drawn from, as one new stream.
    input : matrix, shape (batch_size, n_visible)
        With values in [0, 1].
    corruption_level : float or scalar
        Probability that a value is replaced, in [0, 1], to 24 bits.

    Returns
    -------
    matrix, shape (batch_size, n_visible)

    Raises
    ------
    ValueError
        If the corruption level is a number outside [0, 1].

    Examples
    --------
    >>> import pytensor.tensor as pt
    >>> from dae import RandomStreams
    >>> salt_and_pepper_noise(RandomStreams(1), 0.5 * pt.ones((2, 6)), 0.4).eval()
    array([[0.5, 1. , 0.5, 0.5, 0.5, 0.5],
           [0.5, 0.5, 0.5, 0.5, 1. , 0.5]])
    """
    _check_level("salt-and-pepper", corruption_level)
    u = theano_rng.uniform(size=input.shape, dtype=input.dtype, bits=24)
    is_replaced, is_salt = u < corruption_level, u < corruption_level / 2
    return pt.switch(is_replaced, pt.cast(is_salt, input.dtype), input)


def gaussian_noise(theano_rng, input, corruption_level):
    """Add normally distributed noise to the input, of mean zero and independent in all values.

    Parameters
    ----------
    theano_rng : RandomStreams
        Where the noise is drawn from, as one new stream; by the method of Box and Muller.
    input : matrix, shape (batch_size, n_visible)
    corruption_level : float or scalar
        The standard deviation of the noise, not negative; it may be larger than 1.

    Returns
    -------
    matrix, shape (batch_size, n_visible)
        Not restricted to [0, 1], even if the input is.

    Raises
    ------
    ValueError
        If the corruption level is a number outside [0, 1e38].

    Examples
    --------
    >>> import pytensor.tensor as pt
    >>> from dae import RandomStreams
    >>> gaussian_noise(RandomStreams(1), pt.zeros((2, 3)), 0.5).eval().round(2)
    array([[ 0.7 , -0.07, -0.3 ],
           [-0.65,  0.32, -0.39]])
    """
    _check_level("gaussian", corruption_level)
    return input + theano_rng.normal(
        size=input.shape, std=corruption_level, dtype=input.dtype, method="box-muller"
    )


def _check_level(kind, corruption_level):
    highest = MAX_LEVELS[kind]
    if isinstance(corruption_level, int | float) and not 0 <= corruption_level <= highest:
        raise ValueError(
            f"corruption_level is {corruption_level}; expected a number in [0, {highest}]"
        )


NOISES = {
    "masking": masking_noise,
    "salt-and-pepper": salt_and_pepper_noise,
    "gaussian": gaussian_noise,
}
"""The kinds of noise that a `DenoisingAutoencoder` may be trained with, by their names."""
