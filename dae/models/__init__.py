"""The models of the tutorial, their costs and their noise, as formulas.

Importing them switches on the rewrites of `dae.compiler`, which make the formulas fast.
"""

import dae.compiler  # noqa: F401
from dae.models.autoencoder import Autoencoder, DenoisingAutoencoder
from dae.models.costs import cross_entropy, squared_error
from dae.models.logistic_regression import LogisticRegression
from dae.models.noise import gaussian_noise, masking_noise, salt_and_pepper_noise
from dae.models.stacked_denoising_autoencoder import SigmoidLayer, StackedDenoisingAutoencoder

__all__ = [
    "Autoencoder",
    "DenoisingAutoencoder",
    "LogisticRegression",
    "SigmoidLayer",
    "StackedDenoisingAutoencoder",
    "cross_entropy",
    "gaussian_noise",
    "masking_noise",
    "salt_and_pepper_noise",
    "squared_error",
]
