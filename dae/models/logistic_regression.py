"""The logistic regression of the tutorial: probabilities of classes, and how wrong they are."""

import pytensor
import pytensor.tensor as pt
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.type import integer_dtypes

from dae.models._parameters import zeros


class LogisticRegression:
    r"""Multi-class logistic regression.

    .. math::
        P(Y = i \mid x) = \mathrm{softmax}_i(x W + b)
        = \frac{e^{(x W + b)_i}}{\sum_j e^{(x W + b)_j}}

    All methods take and return symbolic expressions: nothing is compiled here.

    Parameters
    ----------
    input : matrix, shape (batch_size, n_in)
        The minibatch.
    n_in : int
        Number of values in a row of the input.
    n_out : int
        Number of classes.

    Attributes
    ----------
    input, x : matrix
        The minibatch.
    y : int32 vector, shape (batch_size,)
        Its classes, a new symbolic vector: what `get_cost_updates` and `get_validation_loss` are
        about.
    W : shared variable, shape (n_in, n_out)
    b : shared variable, shape (n_out,)
        The parameters, of dtype floatX. They start at zero.
    params : list
        ``[W, b]``.
    p_y_given_x : matrix, shape (batch_size, n_out)
        The probability of each class.
    y_pred : int64 vector, shape (batch_size,)
        The class whose probability is largest; the first of several.

    Examples
    --------
    >>> x, y = pt.matrix("x"), pt.ivector("y")
    >>> classifier = LogisticRegression(x, n_in=2, n_out=4)
    >>> classifier.p_y_given_x.eval({x: [[1, 0]]})
    array([[0.25, 0.25, 0.25, 0.25]])
    >>> errors = classifier.errors(y)
    >>> errors.eval({x: [[1, 0], [0, 1]], y: [0, 3]})
    array(0.5)
    """

    def __init__(self, input: pt.TensorVariable, n_in: int, n_out: int):
        self.input = self.x = input
        self.y = pt.ivector("y")
        self.W = zeros("W", n_in, n_out)
        self.b = zeros("b", n_out)
        self.params = [self.W, self.b]
        self.p_y_given_x = pt.special.softmax(pt.dot(input, self.W) + self.b, axis=1)
        self.y_pred = pt.argmax(self.p_y_given_x, axis=1)

    def negative_log_likelihood(self, y: pt.TensorVariable) -> pt.TensorVariable:
        r"""Return the cost of a minibatch.

        .. math:: -\frac{1}{n} \sum_{k=1}^{n} \log P(Y = y_k \mid x_k)

        Parameters
        ----------
        y : integer vector, shape (batch_size,)
            The class of each row, in [0, n_out).

        Returns
        -------
        scalar
            In nats; the mean, so that the learning rate need not depend on the batch size.

        Raises
        ------
        TypeError
            If `y` is no vector of integers. A compiled function raises ValueError if `y` is not
            as long as the minibatch, or holds something else than the number of a class.
        """
        y = self._checked(y)
        return -pt.mean(pt.log(self.p_y_given_x)[pt.arange(y.shape[0]), y])

    def errors(self, y: pt.TensorVariable) -> pt.TensorVariable:
        """Return the share of wrong predictions in a minibatch.

        Parameters
        ----------
        y : integer vector, shape (batch_size,)
            The class of each row, in [0, n_out).

        Returns
        -------
        scalar
            In [0, 1], float64.

        Raises
        ------
        TypeError
            If `y` is no vector of integers. A compiled function raises ValueError if `y` is not
            as long as the minibatch, or holds something else than the number of a class.
        """
        return pt.mean(pt.neq(self.y_pred, self._checked(y)))

    def get_cost_updates(
        self, learning_rate: float | pt.TensorVariable
    ) -> tuple[pt.TensorVariable, dict]:
        r"""Return the cost of a minibatch, and a step of gradient descent.

        .. math:: p \leftarrow p - \eta\, \frac{\partial\, \mathrm{cost}}{\partial p}

        Parameters
        ----------
        learning_rate : float or scalar
            The step size :math:`\eta`.

        Returns
        -------
        cost : scalar
            The negative log-likelihood of the classes `y`.
        updates : dict
            From each parameter to its next value; for `pytensor.function`.
        """
        cost = self.negative_log_likelihood(self.y)
        gparams = pytensor.grad(cost, self.params)
        updates = {
            param: param - pt.cast(learning_rate, param.dtype) * gparam
            for param, gparam in zip(self.params, gparams, strict=True)
        }
        return cost, updates

    def get_validation_loss(self) -> pt.TensorVariable:
        """Return the share of wrong predictions in a minibatch, with the classes `y`.

        Returns
        -------
        scalar
            As `errors` returns it.
        """
        return self.errors(self.y)

    def _checked(self, y):
        """Return labels that are safe to index with: Numba does not check indices itself."""
        if not isinstance(y, pt.TensorVariable) or y.ndim != 1 or y.dtype not in integer_dtypes:
            kind = getattr(y, "type", type(y).__name__)
            raise TypeError(f"y is {y} ({kind}); expected a vector of integers, such as pt.ivector")
        n_rows, n_out = self.x.shape[0], self.b.shape[0]
        y = CheckAndRaise(ValueError, "y and the minibatch have different lengths")(
            y, pt.eq(y.shape[0], n_rows)
        )
        return CheckAndRaise(ValueError, "y holds a label that is not in [0, n_out)")(
            y, pt.all(y >= 0), pt.all(y < n_out)
        )
