"""The Theano denoising-autoencoder tutorial, alive on PyTensor.

A public name is imported from its room when it is first used, so that the commands answer before
PyTensor is there. `dae.train` is the command; to train from Python, call `dae.fit`.
"""

from importlib import import_module

__version__ = "0.2.0"

_ROOMS = {
    "Autoencoder": "models.autoencoder",
    "Callback": "training.callbacks",
    "Config": "training.config",
    "DataError": "datasets",
    "DenoisingAutoencoder": "models.autoencoder",
    "Epoch": "training.epochs",
    "LogisticRegression": "models.logistic_regression",
    "LogisticRegressionConfig": "training.config",
    "Pretraining": "training.pretraining",
    "ModelError": "training.model_file",
    "RandomStreams": "random",
    "Run": "training.run_directory",
    "RunError": "training.run_directory",
    "StackConfig": "training.config",
    "StackedDenoisingAutoencoder": "models.stacked_denoising_autoencoder",
    "compile_train_da": "training.step",
    "cross_entropy": "models.costs",
    "fit": "training.fitting",
    "gaussian_noise": "models.noise",
    "load_data": "datasets",
    "load_model": "training.model_file",
    "masking_noise": "models.noise",
    "salt_and_pepper_noise": "models.noise",
    "save_model": "training.model_file",
    "squared_error": "models.costs",
    "tile_raster_images": "reports.tiles",
}

__all__ = list(_ROOMS)


def __getattr__(name):
    if name not in _ROOMS:
        raise AttributeError(f"module 'dae' has no attribute {name!r}")
    return getattr(import_module(f"dae.{_ROOMS[name]}"), name)


def __dir__():
    return sorted({*globals(), *__all__})
