"""The stacked denoising autoencoder of the tutorial: layers trained one by one, then together."""

import copy
from functools import partial

import pytensor
import pytensor.tensor as pt

from dae.models._parameters import initial_weights, zeros
from dae.models.autoencoder import DenoisingAutoencoder
from dae.models.logistic_regression import LogisticRegression
from dae.random import RandomStreams


class SigmoidLayer:
    r"""A layer of sigmoid units: :math:`s(x W + b)`; the tutorial's ``HiddenLayer``.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws the initial W from the uniform distribution on
        :math:`\pm 4 \sqrt{6 / (n_{in} + n_{out})}`; b starts at zero.
    input : matrix, shape (batch_size, n_in)
    n_in : int
        Number of values in a row of the input.
    n_out : int
        Number of units.

    Attributes
    ----------
    input : matrix
    W : shared variable, shape (n_in, n_out)
    b : shared variable, shape (n_out,)
    params : list
        ``[W, b]``, of dtype floatX.
    output : matrix, shape (batch_size, n_out)
    """

    def __init__(self, numpy_rng, input, n_in, n_out):
        self.input = input
        self.W = initial_weights(numpy_rng, n_in, n_out)
        self.b = zeros("b", n_out)
        self.params = [self.W, self.b]
        self.output = pt.sigmoid(pt.dot(input, self.W) + self.b)


class StackedDenoisingAutoencoder:
    r"""A classifier whose hidden layers are first trained as denoising autoencoders.

    The layer :math:`y^{(i)} = s(y^{(i-1)} W^{(i)} + b^{(i)})`, with :math:`y^{(0)} = x`, shares
    its parameters with an autoencoder that reconstructs :math:`y^{(i-1)}`. A logistic regression
    is on top. From Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked Denoising
    Autoencoders", 2010; the tutorial's ``SdA``.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws the seed of a `theano_rng`, without one, and then the initial weights, layer by layer.
    theano_rng : RandomStreams, optional
        Draws the noise.
    n_ins : int, default=784
        Number of values in a row of the input.
    hidden_layers_sizes : sequence of int, default=(500, 500)
        Number of units in each hidden layer; at least one layer.
    n_outs : int, default=10
        Number of classes.

    Raises
    ------
    ValueError
        If there is no hidden layer.

    Attributes
    ----------
    x : matrix, shape (batch_size, n_ins)
        The minibatch.
    y : int32 vector, shape (batch_size,)
        Its classes.
    sigmoid_layers : list of SigmoidLayer
    dA_layers : list of DenoisingAutoencoder
        With W and b of the sigmoid layers, and a b_prime of their own.
    logLayer : LogisticRegression
    params : list
        W and b of all layers, from below: what fine-tuning changes.
    finetune_cost : scalar
        The negative log-likelihood of the classes.
    errors : scalar
        The share of wrong predictions.
    theano_rng : RandomStreams

    Examples
    --------
    >>> from numpy.random import RandomState
    >>> stack = StackedDenoisingAutoencoder(
    ...     RandomState(1), n_ins=6, hidden_layers_sizes=(4, 3), n_outs=2
    ... )
    >>> [da.n_hidden for da in stack.dA_layers]
    [4, 3]
    >>> stack.logLayer.p_y_given_x.eval({stack.x: [[0, 1, 0, 1, 0, 1]]})  # before any training
    array([[0.5, 0.5]])
    """

    def __init__(
        self, numpy_rng, theano_rng=None, n_ins=784, hidden_layers_sizes=(500, 500), n_outs=10
    ):
        if len(hidden_layers_sizes) == 0:
            raise ValueError("hidden_layers_sizes is empty; expected at least one size")
        if theano_rng is None:
            theano_rng = RandomStreams(numpy_rng.randint(2**30))
        self.theano_rng = theano_rng
        self.x = pt.matrix("x")
        self.y = pt.ivector("y")
        self.sigmoid_layers = []
        self.dA_layers = []
        self.params = []

        layer_input, n_in = self.x, n_ins
        for n_hidden in hidden_layers_sizes:
            layer = SigmoidLayer(numpy_rng, layer_input, n_in, n_hidden)
            dA = DenoisingAutoencoder(
                numpy_rng, theano_rng, layer_input, n_in, n_hidden, W=layer.W, bhid=layer.b
            )
            self.sigmoid_layers.append(layer)
            self.dA_layers.append(dA)
            self.params += layer.params
            layer_input, n_in = layer.output, n_hidden

        self.logLayer = LogisticRegression(layer_input, n_in, n_outs)
        self.params += self.logLayer.params
        self.finetune_cost = self.logLayer.negative_log_likelihood(self.y)
        self.errors = self.logLayer.errors(self.y)

    def pretraining_functions(self, train_set_x, batch_size):
        """Compile, for each layer, one step on one minibatch as a denoising autoencoder.

        Parameters
        ----------
        train_set_x : shared variable, shape (n_train, n_ins)
        batch_size : int
            Number of rows in a minibatch.

        Returns
        -------
        list of callable
            ``fn(index, corruption=0.2, lr=0.1)``, from the lowest layer up: a step at learning rate
            `lr` on minibatch `index`, a part `corruption` of whose values is hidden from the layer;
            returns its cost. The last two are passed by name. Each layer has a stream of its own.
        """
        index = pt.lscalar("index")
        # In float64, so that they have the digits of a number that is given to the model itself.
        corruption, lr = pt.dscalar("corruption"), pt.dscalar("lr")
        functions = []
        for dA in self.dA_layers:
            cost, updates = dA.get_cost_updates(corruption, lr)
            step = pytensor.function(
                [index, corruption, lr],
                cost,
                updates=updates,
                givens={self.x: train_set_x[index * batch_size : (index + 1) * batch_size]},
            )
            # PyTensor's functions no longer have default values.
            functions.append(partial(step, corruption=0.2, lr=0.1))
        return functions

    def layer_models(self):
        """Return the layers as models of their own, to be trained on the codes of the layer below.

        It is the pre-training of `pretraining_functions`, to the same bits, but that the layers
        below need not be computed anew for each minibatch.

        Returns
        -------
        list of DenoisingAutoencoder
            They share the parameters of `dA_layers`. Each has an `x` of its own, and in its own
            `theano_rng` the stream that `pretraining_functions` would give to the layer next.

        Examples
        --------
        >>> from numpy.random import RandomState
        >>> stack = StackedDenoisingAutoencoder(RandomState(1), n_ins=6, hidden_layers_sizes=(4, 3))
        >>> x = RandomState(2).uniform(size=(5, 6))
        >>> for da in stack.layer_models():
        ...     x = da.encode(x)  # after training it
        >>> x.shape
        (5, 3)
        """
        theano_rng = copy.deepcopy(self.theano_rng)
        models = []
        for dA in self.dA_layers:
            own_rng = copy.deepcopy(theano_rng)
            models.append(
                DenoisingAutoencoder(
                    None, own_rng, pt.matrix("x"), W=dA.W, bhid=dA.b, bvis=dA.b_prime
                )
            )
            theano_rng.binomial()  # takes the seed of this layer's stream: the next has another
        return models

    def get_cost_updates(self, learning_rate):
        r"""Return the cost of a minibatch, and a step of gradient descent on all layers together.

        .. math:: p \leftarrow p - \eta\, \frac{\partial\, \mathrm{finetune\_cost}}{\partial p}

        Parameters
        ----------
        learning_rate : float or scalar
            The step size :math:`\eta`.

        Returns
        -------
        cost : scalar
            The `finetune_cost`.
        updates : dict
            From each of `params` to its next value; for `pytensor.function`.
        """
        gparams = pytensor.grad(self.finetune_cost, self.params)
        updates = {
            param: param - pt.cast(learning_rate, param.dtype) * gparam
            for param, gparam in zip(self.params, gparams, strict=True)
        }
        return self.finetune_cost, updates

    def get_validation_loss(self):
        """Return the share of wrong predictions in a minibatch.

        Returns
        -------
        scalar
            The `errors`.
        """
        return self.errors

    def build_finetune_functions(self, datasets, batch_size, learning_rate):
        """Compile one step on all layers together, and what tells when to stop.

        Parameters
        ----------
        datasets : list of (shared variable, variable)
            Training, validation and test data, as `load_data` returns them: images, shape
            (n, n_ins), and their classes, int32, shape (n,).
        batch_size : int
            Number of rows in a minibatch. What is left of the rows after the last whole one is not
            looked at.
        learning_rate : float or scalar
            The step size.

        Returns
        -------
        train_fn : callable
            ``train_fn(index)``: a step on a minibatch of the training data; returns its cost.
        valid_score, test_score : callable
            Without arguments: return the list of the errors of all minibatches.

        Raises
        ------
        ValueError
            If a part of the data has no classes, or fewer rows than a minibatch.
        """
        for name, (x, y) in zip(["training", "validation", "test"], datasets, strict=True):
            n_rows = x.get_value(borrow=True).shape[0]
            if y is None or n_rows < batch_size:
                classes = "no classes" if y is None else "classes"
                raise ValueError(
                    f"the {name} data have {n_rows} rows and {classes}; expected classes, and at "
                    f"least batch_size={batch_size} rows"
                )
        index = pt.lscalar("index")

        def minibatch(x, y):
            rows = slice(index * batch_size, (index + 1) * batch_size)
            return {self.x: x[rows], self.y: y[rows]}

        def score(x, y):
            errors = pytensor.function([index], self.errors, givens=minibatch(x, y))
            n_batches = x.get_value(borrow=True).shape[0] // batch_size
            return lambda: [errors(i) for i in range(n_batches)]

        cost, updates = self.get_cost_updates(learning_rate)
        train_fn = pytensor.function([index], cost, updates=updates, givens=minibatch(*datasets[0]))
        return train_fn, score(*datasets[1]), score(*datasets[2])
