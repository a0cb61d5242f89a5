"""Noise, as expressions over the streams of `RandomStreams`."""


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
    if isinstance(corruption_level, int | float) and not 0 <= corruption_level <= 1:
        raise ValueError(f"corruption_level is {corruption_level}; expected a number in [0, 1]")
    survives = theano_rng.binomial(size=input.shape, n=1, p=1 - corruption_level, dtype=input.dtype)
    return survives * input
