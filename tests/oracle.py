"""The autoencoder in plain NumPy, in long double: what PyTensor's answers are held against."""

import numpy as np

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


def normal_pairs(random_state, n, dtype="float64"):
    """Draw n numbers, n even, by the method of Box and Muller, as `RandomStreams.normal` does."""
    if dtype == "float32":
        words = [random_state.randint(2**24, dtype=np.uint32) for _ in range(n)]
        draws = np.array(words, np.longdouble) / 2**24
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
        u = random_state.random_sample(x.shape)
        return np.where(u < level / 2, 1, np.where(u < level, 0, x))
    return x + level * normal_pairs(random_state, x.size, x.dtype).reshape(x.shape)
