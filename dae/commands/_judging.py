"""What a model is judged by: images, and the costs of simple predictors for them."""

import math
from functools import cached_property

from dae.datasets import to_floatX
from dae.training.baselines import compute_baselines
from dae.training.data import mean_and_scale

MAX_IMAGES = 10_000
"""That many images say well enough what the mean and the principal components are."""

MAX_VALUES = 2**25
"""So many pixels are judged, however many there are: all of 10,000 images of 57 x 57."""


class Judge:
    """Holds the validation loss against baselines, which are computed when first needed.

    Parameters
    ----------
    config : Config
        The settings.
    dataset : Dataset
        The data: the validation images, or without such the training images, are what counts.

    Attributes
    ----------
    part : {'validation', 'training'}
        Which images these are.
    columns : dict
        For `Run.columns`: the validation loss, also for each pixel, and the baselines beside it.
    """

    def __init__(self, config, dataset):
        self._config = config
        self._train_x = dataset.train[0]
        self.part, self._x = "training", dataset.train[0]
        self.columns = {}
        if len(dataset.valid[0]):
            self.part, self._x = "validation", dataset.valid[0]
            self.columns = {
                "validation_loss": lambda epoch: epoch.validation_loss,
                "validation_loss_per_pixel": self._if_validated(self._per_pixel),
                "mean_image": self._if_validated(lambda epoch: self.baselines["mean image"]),
                "pca": self._if_validated(lambda epoch: self.baselines["PCA"]),
            }

    @cached_property
    def baselines(self):
        """The costs of simple predictors for the images: see `compute_baselines`."""
        # A run that is resumed writes its costs anew before there is a model to ask.
        config = self._config
        train_x, x = self._some_of(self._train_x), self._some_of(self._x)
        if config.standardize:
            mean, scale = mean_and_scale(self._train_x, config.floatX)
            train_x, x = (train_x - mean) / scale, (x - mean) / scale
        baselines = compute_baselines(train_x, x, config.n_hidden, config.cost)
        # The last bits of a product of NumPy depend on where its arrays lie in the memory.
        return {name: float(f"{cost:.8g}") for name, cost in baselines.items()}

    def images(self):
        """Return as many of the images as there is time and memory to judge.

        Returns
        -------
        ndarray of floatX, shape (n, n_visible)
            All of them or every second, every third and so on.
        """
        return self._some_of(self._x)

    def describe(self, epoch):
        """Return what the bar says of an epoch.

        Parameters
        ----------
        epoch : Epoch

        Returns
        -------
        str
            Empty if it was not validated.
        """
        if epoch.validation_loss is None:
            return ""
        return (
            f"validation {epoch.validation_loss:.2f} ({self._per_pixel(epoch):.4f} a pixel; "
            f"mean image {self.baselines['mean image']:.2f}, PCA {self.baselines['PCA']:.2f})"
        )

    def _some_of(self, images):
        n = max(1, min(MAX_IMAGES, MAX_VALUES // images.shape[1]))
        return to_floatX(images[:: -(-len(images) // n)], self._config.floatX)

    def _per_pixel(self, epoch):
        return epoch.validation_loss / math.prod(self._config.image_shape[:2])

    @staticmethod
    def _if_validated(value):
        return lambda epoch: None if epoch.validation_loss is None else value(epoch)
