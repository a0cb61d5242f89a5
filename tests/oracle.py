"""The models in plain NumPy, in long double: what PyTensor's answers are held against."""

import numpy as np
from numpy.random import RandomState

PUBLISHED = {
    0.0: """
        132.518026 80.232354 75.058689 73.097621 72.148517 71.565361 71.142682 70.810096
        70.536880 70.316258 70.139160 69.992795 69.867721 69.757125 69.657424 69.567555
        69.485009 69.409063 69.339174 69.275876""".split(),
    0.3: """
        138.405057 87.162786 83.476929 81.844325 80.727820 79.953129 79.360116 78.839937
        78.408522 77.952378 77.572687 77.342092 77.164052 76.968730 76.653768 76.618222
        76.326465 76.133495 76.044698 75.996942""".split(),
}
"""What the worksheet printed for each corruption level, at epochs 0, 10, ..., 190."""

SAMPLE = [
    [int(bit) for bit in row]
    for row in """
        1111101011 1111001111 1101101101 1000111011 1101100001
        1101001011 1101111111 1111011101 1110011101 1010101111""".split()
]
"""The 10x10 noise sample that the worksheet printed."""


def sigmoid(a):
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1, e) / (1 + e)


def cost_and_gradients(tilde_x, x, W, b, b_prime, W_prime=None, cost="cross-entropy"):
    """Give the cost of a minibatch and its derivatives with respect to all parameters.

    Without W_prime, that is the transpose of W.
    """
    tilde_x, x, W, b, b_prime, V = (
        np.asarray(array, np.longdouble)
        for array in (tilde_x, x, W, b, b_prime, np.transpose(W) if W_prime is None else W_prime)
    )
    y = sigmoid(tilde_x @ W + b)
    a = y @ V + b_prime
    if cost == "cross-entropy":
        L = np.maximum(a, 0) - x * a + np.log1p(np.exp(-np.abs(a)))
        delta = (sigmoid(a) - x) / len(x)
    else:
        L = (x - a) ** 2
        delta = 2 * (a - x) / len(x)
    delta_hidden = (delta @ V.T) * y * (1 - y)
    of_encoder, of_decoder = tilde_x.T @ delta_hidden, y.T @ delta
    biases = delta_hidden.sum(axis=0), delta.sum(axis=0)
    if W_prime is None:
        return np.sum(L) / len(x), (of_encoder + of_decoder.T, *biases)
    return np.sum(L) / len(x), (of_encoder, *biases, of_decoder)


def short_uniform(random_state, n):
    """Draw n numbers, one by one, as ``RandomStreams.uniform(bits=24)`` does."""
    words = [random_state.randint(2**24, dtype=np.uint32) for _ in range(n)]
    return np.array(words, np.longdouble) / 2**24


def normal_pairs(random_state, n, dtype="float64"):
    """Draw n numbers, n even, by the method of Box and Muller, as `RandomStreams.normal` does."""
    if dtype == "float32":
        draws = short_uniform(random_state, n)
    else:
        draws = random_state.random_sample(n).astype(np.longdouble)
    u, v = draws.reshape(2, n // 2)
    radius, angle = np.sqrt(-2 * np.log(1 - u)), 2 * np.longdouble(np.pi) * (v - 0.5)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])


def corrupted(kind, level, x, random_state):
    """Give x, of an even number of values, with noise of a kind."""
    if kind == "masking":
        return random_state.binomial(1, 1 - level, x.shape) * x
    if kind == "salt-and-pepper":
        u = short_uniform(random_state, x.size).reshape(x.shape)
        return np.where(u < level / 2, 1, np.where(u < level, 0, x))
    return x + level * normal_pairs(random_state, x.size, x.dtype).reshape(x.shape)


class NumpyStack:
    """The whole stacked denoising autoencoder, whose initial weights are rounded to a dtype."""

    def __init__(self, rng, n_ins, sizes, n_outs, dtype="float64"):
        gen = RandomState(int(rng.randint(2**30)))
        n_ins = (n_ins, *sizes)[: len(sizes)]
        self.layers = []
        for n_in, n_out in zip(n_ins, sizes, strict=True):
            bound = 4 * np.sqrt(6 / (n_in + n_out))
            W = rng.uniform(low=-bound, high=bound, size=(n_in, n_out))
            W = W.astype(dtype).astype(np.longdouble)
            self.layers.append([W, np.zeros(n_out), np.zeros(n_in)])
        self.streams = [RandomState(int(gen.randint(2**30))) for _ in sizes]
        self.top = [np.zeros((sizes[-1], n_outs)), np.zeros(n_outs)]

    @property
    def params(self):
        return [param for W, b, _ in self.layers for param in (W, b)] + self.top

    def activations(self, x):
        """The input, then the output of each layer."""
        outputs = [x.astype(np.longdouble)]
        for W, b, _ in self.layers:
            outputs.append(sigmoid(outputs[-1] @ W + b))
        return outputs

    def pretrain(self, i, x, corruption, lr):
        y = self.activations(x)[i]
        mask = self.streams[i].binomial(1, 1 - corruption, y.shape)
        cost, gradients = cost_and_gradients(mask * y, y, *self.layers[i])
        self.layers[i] = [p - lr * g for p, g in zip(self.layers[i], gradients, strict=True)]
        return cost

    def log_probabilities(self, top):
        W, b = self.top
        a = top @ W + b
        a -= a.max(axis=1, keepdims=True)
        return a - np.log(np.exp(a).sum(axis=1, keepdims=True))

    def finetune(self, x, y, lr):
        outputs = self.activations(x)
        log_p = self.log_probabilities(outputs[-1])
        is_class = np.arange(log_p.shape[1]) == y[:, None]
        delta = (np.exp(log_p) - is_class) / len(x)
        W, b = self.top
        below = delta @ W.T
        self.top = [W - lr * outputs[-1].T @ delta, b - lr * delta.sum(axis=0)]
        for i in reversed(range(len(self.layers))):
            W, b, b_prime = self.layers[i]
            delta = below * outputs[i + 1] * (1 - outputs[i + 1])
            below = delta @ W.T
            self.layers[i] = [W - lr * outputs[i].T @ delta, b - lr * delta.sum(axis=0), b_prime]
        return -log_p[is_class].mean()

    def errors(self, x, y):
        return np.mean(self.log_probabilities(self.activations(x)[-1]).argmax(axis=1) != y)
