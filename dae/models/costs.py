"""Costs, as expressions."""

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
