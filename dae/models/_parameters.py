"""The parameters of a layer: those that are given, and initial values for the others."""

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.sharedvalue import SharedVariable


def initial_weights(numpy_rng, n_in, n_out, name="W"):
    r"""Draw the weights of a layer of sigmoid units.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
    n_in, n_out : int
    name : str, default="W"

    Returns
    -------
    shared variable, shape (n_in, n_out)
        Of dtype floatX; from the uniform distribution on
        :math:`\pm 4 \sqrt{6 / (n_{in} + n_{out})}` (Glorot and Bengio, 2010, for the sigmoid).
    """
    bound = 4 * np.sqrt(6 / (n_in + n_out))
    W = numpy_rng.uniform(low=-bound, high=bound, size=(n_in, n_out))
    return pytensor.shared(W.astype(pytensor.config.floatX), name=name, borrow=True)


def zeros(name, *shape):
    """Return a shared variable of floatX that is zero.

    Parameters
    ----------
    name : str
    *shape : int

    Returns
    -------
    shared variable
    """
    return pytensor.shared(np.zeros(shape, pytensor.config.floatX), name=name, borrow=True)


def layer_parameters(numpy_rng, n_visible, n_hidden, W, b, b_prime):
    r"""Return the parameters of an autoencoder.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws W, where none is given: see `initial_weights`. Biases that are not given are zero.
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
    W_shape, [b_size], [b_prime_size] = (
        _shape("W", W, 2),
        _shape("bhid", b, 1),
        _shape("bvis", b_prime, 1),
    )
    n_visible = _agreed("n_visible", n_visible, W_shape[0], b_prime_size, default=784)
    n_hidden = _agreed("n_hidden", n_hidden, W_shape[1], b_size, default=500)
    if W is None:
        W = initial_weights(numpy_rng, n_visible, n_hidden)
    if b is None:
        b = zeros("b", n_hidden)
    if b_prime is None:
        b_prime = zeros("b_prime", n_visible)
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
