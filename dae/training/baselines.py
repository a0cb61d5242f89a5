"""What a cost is worth: those of predictors that nobody would train an autoencoder to equal."""

import numpy as np

SEED = 1
"""Of the directions that the search for principal components starts from."""

BATCH_SIZE = 1000
"""So many images are judged at a time, which bounds the memory that it takes."""


def image_costs(x, z, cost="cross-entropy"):
    """Compute the cost of the reconstruction of each image.

    Parameters
    ----------
    x : ndarray of float, shape (n_images, n_visible)
        The images; in [0, 1] for the cross-entropy.
    z : ndarray of float, shape (n_images, n_visible) or (n_visible,)
        Their reconstructions.
    cost : {'cross-entropy', 'squared-error'}, default='cross-entropy'
        What is summed over the pixels. For the cross-entropy, z is clipped to where it is finite:
        the numbers of its dtype between 0 and 1.

    Returns
    -------
    ndarray of float, shape (n_images,)
        For the cross-entropy in nats.
    """
    if cost == "squared-error":
        return np.sum((x - z) ** 2, axis=1)
    bound = np.finfo(z.dtype).epsneg
    z = np.clip(z, bound, 1 - bound)
    return -np.sum(x * np.log(z) + (1 - x) * np.log1p(-z), axis=1)


def fit_pca(x, n_components):
    """Find the mean and the principal components of images.

    The components are found by subspace iteration, which takes about as much arithmetic as two
    epochs of training with as many hidden units, and no memory to speak of. What they leave
    unexplained is a few thousandths more than it must be.

    Parameters
    ----------
    x : ndarray of float, shape (n_images, n_visible)
    n_components : int
        If there are not so many, all are returned.

    Returns
    -------
    mean : ndarray of float, shape (n_visible,)
    components : ndarray of float, shape (n_visible, n_components)
        Orthonormal columns.
    """
    mean = x.mean(axis=0)
    # More directions than components, so that the last of these converge, too.
    n_directions = min(n_components + 20, x.shape[1])
    start = np.random.default_rng(SEED).normal(size=(x.shape[1], n_directions))
    directions = np.linalg.qr(start.astype(x.dtype))[0]
    for _ in range(4):
        scores = x @ directions - mean @ directions  # (n_images, n_directions)
        products = x.T @ scores - np.outer(mean, scores.sum(axis=0))
        directions = np.linalg.qr(products)[0]
    scores = x @ directions - mean @ directions
    _, rotation = np.linalg.eigh(scores.T @ scores)  # the largest eigenvalue comes last
    return mean, directions @ rotation[:, : -n_components - 1 : -1]


def compute_baselines(train_x, held_out_x, n_components, cost="cross-entropy"):
    """Compute the costs of two predictors that are quickly had, to compare an autoencoder with.

    Parameters
    ----------
    train_x : ndarray of float, shape (n_train, n_visible)
        What the predictors are made from: the training data, or a part of them.
    held_out_x : ndarray of float, shape (n_held_out, n_visible)
        What they are judged by.
    n_components : int
        Number of principal components; for a fair comparison, that of the hidden units.
    cost : {'cross-entropy', 'squared-error'}, default='cross-entropy'
        The cost of the autoencoder.

    Returns
    -------
    dict
        From names to costs, per image:

        - "mean image": the mean of the training images, whatever the input;
        - "PCA": the reconstruction from the principal components of the training images. For the
          cross-entropy, both are clipped to [1/1024, 1023/1024], a quarter of a grey level from
          black and white, since PCA knows no bounds;
        - "perfect reconstruction": the input itself. The cross-entropy of grey pixels is not 0
          there, but their entropy, and no model can be below it.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.2, 0.6], [0.4, 0.8], [0.6, 1.0]])
    >>> baselines = compute_baselines(x, x, n_components=1, cost="squared-error")
    >>> for name, value in baselines.items():
    ...     print(f"{name}: {value:.4f}")
    mean image: 0.0533
    PCA: 0.0000
    perfect reconstruction: 0.0000
    """
    mean, components = fit_pca(train_x, n_components)
    low, high = (1 / 1024, 1023 / 1024) if cost == "cross-entropy" else (-np.inf, np.inf)
    totals = {"mean image": 0.0, "PCA": 0.0, "perfect reconstruction": 0.0}
    for start in range(0, len(held_out_x), BATCH_SIZE):
        x = held_out_x[start : start + BATCH_SIZE]
        pca = mean + ((x - mean) @ components) @ components.T
        predictions = [np.clip(mean, low, high), np.clip(pca, low, high), x]
        for name, z in zip(totals, predictions, strict=True):
            totals[name] += float(np.sum(image_costs(x, z, cost)))
    return {name: total / len(held_out_x) for name, total in totals.items()}
