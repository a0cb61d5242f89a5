"""The worksheet's classes as one has them in Theano code, `theano` replaced by `pytensor`.

They are somebody's own: nothing of this package is in them. Only the streams that are passed to
them have to be `dae.RandomStreams`, since PyTensor has no other that draw as Theano's did.
"""

import numpy
import pytensor
import pytensor.tensor as pt


class Autoencoder:
    """An autoencoder with tied weights, trained with the cross-entropy.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws the initial weights.
    theano_rng : RandomStreams
        Draws the noise.
    input : matrix, shape (batch_size, n_visible)
        The minibatch.
    n_visible : int, default=784
        Number of visible units.
    n_hidden : int, default=500
        Number of hidden units.
    W : shared matrix, shape (n_visible, n_hidden), optional
        By default drawn by `numpy_rng`.
    bhid : shared vector, shape (n_hidden,), optional
        By default zero.
    bvis : shared vector, shape (n_visible,), optional
        By default zero.
    """

    def __init__(
        self,
        numpy_rng,
        theano_rng,
        input,
        n_visible=784,
        n_hidden=500,
        W=None,
        bhid=None,
        bvis=None,
    ):
        self.n_visible = n_visible
        self.n_hidden = n_hidden
        self.theano_rng = theano_rng

        if W is None:
            initial_W = numpy.asarray(
                numpy_rng.uniform(
                    low=-4 * numpy.sqrt(6.0 / (n_hidden + n_visible)),
                    high=4 * numpy.sqrt(6.0 / (n_hidden + n_visible)),
                    size=(n_visible, n_hidden),
                ),
                dtype=pytensor.config.floatX,
            )
            W = pytensor.shared(value=initial_W, name="W", borrow=True)
        if bvis is None:
            bvis = pytensor.shared(
                value=numpy.zeros(n_visible, dtype=pytensor.config.floatX), borrow=True
            )
        if bhid is None:
            bhid = pytensor.shared(
                value=numpy.zeros(n_hidden, dtype=pytensor.config.floatX), name="b", borrow=True
            )

        self.W = W
        self.b = bhid
        self.b_prime = bvis
        self.W_prime = self.W.T
        self.x = input
        self.params = [self.W, self.b, self.b_prime]

    def get_corrupted_input(self, input, corruption_level):
        """Return what is encoded: the input itself."""
        return input

    def get_hidden_values(self, input):
        """Return the hidden values of an input."""
        return pt.sigmoid(pt.dot(input, self.W) + self.b)

    def get_reconstructed_input(self, hidden):
        """Return the reconstruction from hidden values."""
        return pt.sigmoid(pt.dot(hidden, self.W_prime) + self.b_prime)

    def get_cost_updates(self, corruption_level, learning_rate):
        """Return the cost of the minibatch, and a step of gradient descent as a list of pairs."""
        tilde_x = self.get_corrupted_input(self.x, corruption_level)
        y = self.get_hidden_values(tilde_x)
        z = self.get_reconstructed_input(y)
        L = -pt.sum(self.x * pt.log(z) + (1 - self.x) * pt.log(1 - z), axis=1)
        cost = pt.mean(L)

        gparams = pt.grad(cost, self.params)
        updates = []
        for param, gparam in zip(self.params, gparams, strict=True):
            updates.append((param, param - learning_rate * gparam))
        return cost, updates


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder whose input is hidden in part, by masks."""

    def get_corrupted_input(self, input, corruption_level):
        """Return the input with a part of it, `corruption_level`, set to zero."""
        return (
            self.theano_rng.binomial(
                size=input.shape, n=1, p=1 - corruption_level, dtype=pytensor.config.floatX
            )
            * input
        )
