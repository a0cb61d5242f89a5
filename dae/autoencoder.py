"""The autoencoder of the tutorial, and its denoising kind."""

import numpy as np
import pytensor
import pytensor.tensor as pt

from dae.corruption import masking_noise
from dae.costs import cross_entropy
from dae.ops import affine, descend, sigmoid
from dae.streams import RandomStreams


class Autoencoder:
    r"""An autoencoder with tied weights.

    .. math::
        y = s(x W + b), \qquad z = s(y W' + b'), \qquad W' = W^T

    All methods take and return symbolic expressions: nothing is compiled here.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws the initial weights and, without `theano_rng`, the seed of one.
    theano_rng : RandomStreams, optional
        Draws the noise.
    input : matrix, shape (batch_size, n_visible), optional
        The minibatch, with values in [0, 1]; by default a new symbolic matrix of dtype floatX.
    n_visible, n_hidden : int
        Number of visible and of hidden units.
    W : matrix, shape (n_visible, n_hidden), optional
    bhid : vector, shape (n_hidden,), optional
    bvis : vector, shape (n_visible,), optional
        Shared variables, to share parameters with another model. By default W is drawn from
        the uniform distribution on :math:`\pm 4 \sqrt{6 / (n_{hidden} + n_{visible})}` (Glorot
        and Bengio, 2010, for the sigmoid), the biases are zero, and all are of dtype floatX.

    Attributes
    ----------
    x : matrix
        The input.
    W, b, b_prime : shared variables
        The parameters.
    W_prime : matrix, shape (n_hidden, n_visible)
        The transpose of W.
    params : list
        ``[W, b, b_prime]``.
    theano_rng : RandomStreams
    """

    def __init__(
        self,
        numpy_rng,
        theano_rng=None,
        input=None,
        n_visible=784,
        n_hidden=500,
        W=None,
        bhid=None,
        bvis=None,
    ):
        floatX = pytensor.config.floatX
        if theano_rng is None:
            theano_rng = RandomStreams(numpy_rng.randint(2**30))
        if W is None:
            bound = 4 * np.sqrt(6 / (n_hidden + n_visible))
            W = numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden))
            W = pytensor.shared(W.astype(floatX), name="W", borrow=True)
        if bhid is None:
            bhid = pytensor.shared(np.zeros(n_hidden, floatX), name="b", borrow=True)
        if bvis is None:
            bvis = pytensor.shared(np.zeros(n_visible, floatX), name="b_prime", borrow=True)
        if input is None:
            input = pt.matrix("input")
        self._assemble(theano_rng, input, W, bhid, bvis)
        self.n_visible = n_visible
        self.n_hidden = n_hidden

    def _assemble(self, theano_rng, input, W, b, b_prime):
        self.theano_rng = theano_rng
        self.x = input
        self.W = W
        self.b = b
        self.b_prime = b_prime
        self.W_prime = W.T
        self.params = [W, b, b_prime]

    def get_corrupted_input(self, input, corruption_level):
        """Give what is encoded: here the input itself."""
        return input

    def get_hidden_values(self, input):
        r"""Encode: :math:`y = s(x W + b)`."""
        return sigmoid(affine(input, self.W, self.b))

    def get_reconstructed_input(self, hidden):
        r"""Decode: :math:`z = s(y W' + b')`."""
        return sigmoid(affine(hidden, self.W_prime, self.b_prime))

    def get_cost_updates(self, corruption_level, learning_rate):
        r"""Give the cost of a minibatch, and a step of gradient descent.

        .. math:: p \leftarrow p - \eta\, \frac{\partial\, \mathrm{cost}}{\partial p}

        Parameters
        ----------
        corruption_level : float or scalar
            Passed to `get_corrupted_input`.
        learning_rate : float or scalar
            The step size :math:`\eta`.

        Returns
        -------
        cost : scalar
            The cross-entropy, summed over the pixels, averaged over the minibatch.
        updates : dict
            From each parameter, and from the state of each stream that the cost draws from, to
            its next value; for `pytensor.function`.
        """
        tilde_x = self.get_corrupted_input(self.x, corruption_level)
        y = self.get_hidden_values(tilde_x)
        z = self.get_reconstructed_input(y)
        L = cross_entropy(self.x, z)  # (batch_size,)
        cost = pt.mean(L)

        gparams = pytensor.grad(cost, self.params)
        updates = {
            param: descend(param, pt.cast(learning_rate, param.dtype), gparam)
            for param, gparam in zip(self.params, gparams, strict=True)
        }
        return cost, updates | self.theano_rng.updates(cost)

    def feedforward(self):
        """Give the reconstruction of the input, without corruption."""
        return self.get_reconstructed_input(self.get_hidden_values(self.x))

    def __getstate__(self):
        """Give (W, b, b_prime) as arrays: what pickles and copies hold."""
        return tuple(param.get_value() for param in self.params)

    def __setstate__(self, state):
        """Build a working model from (W, b, b_prime): with an input and a noise of its own."""
        W, b, b_prime = (
            pytensor.shared(value, name=name)
            for value, name in zip(state, ["W", "b", "b_prime"], strict=True)
        )
        self.n_visible, self.n_hidden = state[0].shape
        self._assemble(RandomStreams(), pt.matrix("input", dtype=W.dtype), W, b, b_prime)


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder that learns to undo noise: a part of its input is hidden.

    From Vincent, Larochelle, Bengio and Manzagol, "Extracting and Composing Robust Features with
    Denoising Autoencoders", 2008. Everything else is as in `Autoencoder`.
    """

    def get_corrupted_input(self, input, corruption_level):
        """Give the input with a part of it, `corruption_level`, set to zero."""
        return masking_noise(self.theano_rng, input, corruption_level)
