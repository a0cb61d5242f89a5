"""The parameters of a layer: those that are given, and initial values for the others."""

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable


def layer_parameters(numpy_rng, n_visible, n_hidden, W, b, b_prime):
    r"""Return the parameters of an autoencoder.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws W, where none is given, from the uniform distribution on
        :math:`\pm 4 \sqrt{6 / (n_{hidden} + n_{visible})}` (Glorot and Bengio, 2010, for the
        sigmoid). Biases that are not given are zero.
    n_visible, n_hidden : int or None
        Number of visible and of hidden units; None for those of the parameters that are given,
        else 784 and 500.
    W : matrix, shape (n_visible, n_hidden), or None
    b : vector, shape (n_hidden,), or None
    b_prime : vector, shape (n_visible,), or None

    Returns
    -------
    n_visible, n_hidden : int
    W, b, b_prime : variable
        The new ones are shared, and of dtype floatX.

    Raises
    ------
    ValueError
        If the given sizes and parameters contradict each other.
    TypeError
        If a given parameter is no variable, or has another number of dimensions.
    """
    floatX = pytensor.config.floatX
    W_shape, [b_size], [b_prime_size] = (
        _shape("W", W, 2),
        _shape("bhid", b, 1),
        _shape("bvis", b_prime, 1),
    )
    n_visible = _agreed("n_visible", n_visible, W_shape[0], b_prime_size, default=784)
    n_hidden = _agreed("n_hidden", n_hidden, W_shape[1], b_size, default=500)
    if W is None:
        bound = 4 * np.sqrt(6 / (n_hidden + n_visible))
        W = numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden))
        W = pytensor.shared(W.astype(floatX), name="W", borrow=True)
    if b is None:
        b = pytensor.shared(np.zeros(n_hidden, floatX), name="b", borrow=True)
    if b_prime is None:
        b_prime = pytensor.shared(np.zeros(n_visible, floatX), name="b_prime", borrow=True)
    return n_visible, n_hidden, W, b, b_prime


def _shape(name, param, ndim):
    """Return the shape of a parameter, as far as it is known; of None, nothing is."""
    if param is None:
        return (None,) * ndim
    if not isinstance(param, pt.TensorVariable) or param.ndim != ndim:
        raise TypeError(f"{name} is {param!r}; expected a shared variable with {ndim} dimensions")
    if isinstance(param, SharedVariable):
        return param.get_value(borrow=True).shape
    return param.type.shape


def _agreed(name, *sizes, default):
    """Return the size that is given and that parameters have, where it is known."""
    known = {size for size in sizes if size is not None} or {default}
    if len(known) > 1:
        raise ValueError(
            f"{name} is given as {sizes[0]}, W says {sizes[1]}, and its bias {sizes[2]} "
            "(None: nothing); expected the same size everywhere"
        )
    return known.pop()
