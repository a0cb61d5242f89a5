# What type checkers read: __init__.py imports these names when they are first used.
from dae.datasets import DataError, load_data
from dae.models.autoencoder import Autoencoder, DenoisingAutoencoder
from dae.models.costs import cross_entropy, squared_error
from dae.models.logistic_regression import LogisticRegression
from dae.models.noise import gaussian_noise, masking_noise, salt_and_pepper_noise
from dae.models.stacked_denoising_autoencoder import StackedDenoisingAutoencoder
from dae.random import RandomStreams
from dae.reports.tiles import tile_raster_images
from dae.training.callbacks import Callback
from dae.training.config import Config, LogisticRegressionConfig, StackConfig
from dae.training.epochs import Epoch
from dae.training.fitting import fit
from dae.training.model_file import ModelError, load_model, save_model
from dae.training.pretraining import Pretraining
from dae.training.run_directory import Run, RunError
from dae.training.step import compile_train_da

__all__ = [
    "Autoencoder",
    "Callback",
    "Config",
    "DataError",
    "DenoisingAutoencoder",
    "Epoch",
    "LogisticRegression",
    "LogisticRegressionConfig",
    "ModelError",
    "Pretraining",
    "RandomStreams",
    "Run",
    "RunError",
    "StackConfig",
    "StackedDenoisingAutoencoder",
    "compile_train_da",
    "cross_entropy",
    "fit",
    "gaussian_noise",
    "load_data",
    "load_model",
    "masking_noise",
    "salt_and_pepper_noise",
    "save_model",
    "squared_error",
    "tile_raster_images",
]

__version__: str
