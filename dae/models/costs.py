"""Costs, as expressions.

Here that of a white and a black pixel which are both reconstructed as grey:

>>> x, z = pt.constant([[1.0, 0.0]]), pt.constant([[0.5, 0.5]])
>>> cross_entropy(x, z).eval().round(2)
array([1.39])
"""

import pytensor.tensor as pt


def cross_entropy(x, z):
    r"""Return the cross-entropy of the reconstructions of a minibatch.

    .. math:: L(x, z) = -\sum_k \left[ x_k \log z_k + (1 - x_k) \log(1 - z_k) \right]

    A saturated unit rounds z to 0 or 1, where the formula is infinite. The compiler sees to that:
    where z = s(a), it computes L from the pre-activation a (see `dae.compiler`).

    Parameters
    ----------
    x : matrix, shape (batch_size, n_visible)
        The input, in [0, 1].
    z : matrix, shape (batch_size, n_visible)
        The reconstruction, in (0, 1).

    Returns
    -------
    vector, shape (batch_size,)
        In nats.
    """
    return -pt.sum(x * pt.log(z) + (1 - x) * pt.log(1 - z), axis=1)


def squared_error(x, z):
    r"""Return the squared error of the reconstructions of a minibatch.

    .. math:: L(x, z) = \sum_k (x_k - z_k)^2

    Without a factor of one half, as in Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked
    Denoising Autoencoders", 2010, where it is the cost of a linear decoder.

    Parameters
    ----------
    x : matrix, shape (batch_size, n_visible)
        The input: any real numbers.
    z : matrix, shape (batch_size, n_visible)
        The reconstruction.

    Returns
    -------
    vector, shape (batch_size,)
        In the square of the unit of x.

    Examples
    --------
    >>> squared_error(pt.constant([[0.0, 2.0]]), pt.constant([[0.5, 1.0]])).eval()
    array([1.25])
    """
    return pt.sum((x - z) ** 2, axis=1)


COSTS = {"cross-entropy": cross_entropy, "squared-error": squared_error}
"""The costs that an `Autoencoder` may be trained with, by their names."""
