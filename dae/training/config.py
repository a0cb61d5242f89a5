"""The settings of a training: a class for each kind."""

from dataclasses import dataclass
from types import MappingProxyType

from dae.training.settings import EPOCHS, MINIBATCHES, VALID, ConfigError, Settings


@dataclass(frozen=True)
class Config(Settings):
    """The settings of an autoencoder's training; the defaults are the worksheet's.

    Parameters
    ----------
    data, image_shape, color, crop, autocontrast, skip_bad_images, background : object
        The data: see `Settings`.
    validation_fraction, data_sha256 : object
        The same.
    standardize : bool, default=False
        Whether to subtract from each pixel its mean over the training data, and to divide by its
        standard deviation, where that is not 0; for the squared error.
    corruption : {'masking', 'salt-and-pepper', 'gaussian'}, default='masking'
        The kind of noise: see `DenoisingAutoencoder`.
    corruption_level : float, default=0.3
        How much noise: the probability in [0, 1] that a value of the input is hidden or replaced,
        or the standard deviation of Gaussian noise; 0 trains an autoencoder without noise.
    cost : {'cross-entropy', 'squared-error'}, default='cross-entropy'
        What is minimized; the cross-entropy is for data in [0, 1].
    n_hidden : int, default=100
        Number of hidden units.
    learning_rate : float, default=0.1
        The step size, in (0, 1e38].
    training_epochs : int, default=200
        Number of passes over the data, those of a run that is resumed included.
    batch_size : int, default=20
        Number of rows in a minibatch.
    shuffle : bool, default=False
        Whether to go through the data in a new order in each epoch.
    patience : int, optional
        The number of epochs after which to stop a training whose validation loss no longer falls.
    validate_every : int, optional
        The number of epochs between validations; by default so many that they take about a
        fiftieth of the time. The last epoch is always validated, and with a `patience` every one.
    seed : int, default=123
        Decides the initial weights, the noise and the order; in [0, 2**32).
    floatX : {'float64', 'float32'}, default='float64'
        The arithmetic.

    Raises
    ------
    ConfigError
        If a setting has an impossible value.

    Examples
    --------
    >>> Config(n_hidden=500).batch_size
    20
    >>> Config(n_hidden=0)
    Traceback (most recent call last):
        ...
    dae.training.settings.ConfigError: n_hidden is 0; expected a whole number above 0
    """

    command = "dae.train"

    standardize: bool = False
    corruption: str = "masking"
    corruption_level: float = 0.3
    cost: str = "cross-entropy"
    n_hidden: int = 100
    learning_rate: float = 0.1
    training_epochs: int = 200
    batch_size: int = 20
    shuffle: bool = False
    patience: int | None = None
    validate_every: int | None = None
    seed: int = 123
    floatX: str = "float64"  # noqa: N815

    def __post_init__(self):
        """Check every setting."""
        super().__post_init__()
        if self.corruption != "gaussian" and self.corruption_level > 1:
            expected, _ = VALID["corruption_level"]
            raise ConfigError("corruption_level", self.corruption_level, expected)
        if self.standardize and self.cost == "cross-entropy":
            raise ConfigError(
                "cost", self.cost, "squared-error, since standardized pixels are not in [0, 1]"
            )

    def early_stopping(self, n_train_batches: int) -> dict | None:
        """Return the rule for a `patience`, if there is one: see `Settings.early_stopping`.

        Parameters
        ----------
        n_train_batches : int
            Number of minibatches in an epoch.

        Returns
        -------
        dict or None
        """
        if self.patience is None:
            return None
        return {
            "patience": self.patience * n_train_batches,
            "patience_increase": None,
            "improvement_threshold": 1,
        }


@dataclass(frozen=True)
class LogisticRegressionConfig(Settings):
    """The settings of a logistic regression's training; the defaults are the tutorial's.

    Parameters
    ----------
    data, image_shape, color, crop, autocontrast, skip_bad_images, background : object
        The data: see `Settings`.
    validation_fraction, data_sha256 : object
        The same.
    kind : str
        The kind of the training; not to be set.
    learning_rate : float, default=0.13
        The step size, in (0, 1e38].
    training_epochs : int, default=1000
        Number of passes over the data at the most.
    batch_size : int, default=600
        Number of rows in a minibatch.
    patience : int, default=5000
        The number of minibatches to train at the least: see `EarlyStopping`.
    floatX : {'float64', 'float32'}, default='float64'
        The arithmetic.

    Raises
    ------
    ConfigError
        If a setting has an impossible value.

    Examples
    --------
    >>> LogisticRegressionConfig(batch_size=60).learning_rate
    0.13
    """

    command = "dae.train_logistic"
    valid = MappingProxyType(
        VALID
        | {
            "kind": ("'LogisticRegression'", lambda value: value == "LogisticRegression"),
            "patience": MINIBATCHES,
        }
    )

    kind: str = "LogisticRegression"
    learning_rate: float = 0.13
    training_epochs: int = 1000
    batch_size: int = 600
    patience: int = 5000
    floatX: str = "float64"  # noqa: N815

    def early_stopping(self, n_train_batches: int) -> dict | None:
        """Return the tutorial's rule: see `Settings.early_stopping`.

        Parameters
        ----------
        n_train_batches : int
            Number of minibatches in an epoch.

        Returns
        -------
        dict
        """
        return {"patience": self.patience}


@dataclass(frozen=True)
class StackConfig(Settings):
    """The settings of a stack's training, in both phases; the defaults suit mini MNIST.

    Parameters
    ----------
    data, image_shape, color, crop, autocontrast, skip_bad_images, background : object
        The data: see `Settings`.
    validation_fraction, data_sha256 : object
        The same.
    kind : str
        The kind of the training; not to be set.
    hidden_layers_sizes : sequence of int, default=(500, 500)
        Number of units in each hidden layer.
    corruption_levels : sequence of float, default=(0.2,)
        For each layer the probability in [0, 1] that a value of its input is hidden in
        pre-training; one number for all layers.
    pretraining_epochs : int, default=15
        Number of passes over the data in the pre-training of each layer; 0 for none.
    pretraining_learning_rate : float, default=0.3
        The step size of pre-training, in (0, 1e38].
    learning_rate : float, default=0.2
        The step size of fine-tuning.
    training_epochs : int, default=40
        Number of passes over the data in fine-tuning at the most.
    batch_size : int, default=20
        Number of rows in a minibatch, in both phases.
    patience : int, default=10
        The number of epochs to fine-tune at the least: see `EarlyStopping`.
    seed : int, default=123
        Decides the initial weights and the noise; in [0, 2**32).
    floatX : {'float64', 'float32'}, default='float64'
        The arithmetic.

    Raises
    ------
    ConfigError
        If a setting has an impossible value.

    Examples
    --------
    >>> StackConfig().layer(2).n_hidden
    500
    >>> StackConfig(**StackConfig.TUTORIAL).hidden_layers_sizes
    [1000, 1000, 1000]
    """

    command = "dae.train_stacked"
    valid = MappingProxyType(
        VALID
        | {
            "kind": (
                "'StackedDenoisingAutoencoder'",
                lambda value: value == "StackedDenoisingAutoencoder",
            ),
            "patience": EPOCHS,
        }
    )

    TUTORIAL = MappingProxyType(
        {
            "hidden_layers_sizes": (1000, 1000, 1000),
            "corruption_levels": (0.1, 0.2, 0.3),
            "pretraining_epochs": 15,
            "pretraining_learning_rate": 0.001,
            "learning_rate": 0.1,
            "training_epochs": 1000,
            "batch_size": 1,
            "patience": 10,
            "seed": 89677,
        }
    )
    """The tutorial's own settings."""

    kind: str = "StackedDenoisingAutoencoder"
    hidden_layers_sizes: list = (500, 500)
    corruption_levels: list = (0.2,)
    pretraining_epochs: int = 15
    pretraining_learning_rate: float = 0.3
    learning_rate: float = 0.2
    training_epochs: int = 40
    batch_size: int = 20
    patience: int = 10
    seed: int = 123
    floatX: str = "float64"  # noqa: N815

    def __post_init__(self):
        """Check every setting."""
        super().__post_init__()
        n_layers = len(self.hidden_layers_sizes)
        if len(self.corruption_levels) not in (1, n_layers):
            raise ConfigError(
                "corruption_levels",
                self.corruption_levels,
                f"one number, or one for each of the {n_layers} layers",
            )

    def early_stopping(self, n_train_batches: int) -> dict | None:
        """Return the tutorial's rule, for fine-tuning: see `Settings.early_stopping`.

        Parameters
        ----------
        n_train_batches : int
            Number of minibatches in an epoch.

        Returns
        -------
        dict
        """
        return {"patience": max(2, self.patience * n_train_batches)}

    def layer(self, layer: int) -> "LayerConfig":
        """Return the settings of the pre-training of a layer.

        Parameters
        ----------
        layer : int
            Its number, from 1.

        Returns
        -------
        LayerConfig
        """
        levels = self.corruption_levels
        return LayerConfig(
            data=self.data,
            layer=layer,
            corruption_level=levels[0] if len(levels) == 1 else levels[layer - 1],
            n_hidden=self.hidden_layers_sizes[layer - 1],
            learning_rate=self.pretraining_learning_rate,
            training_epochs=self.pretraining_epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            floatX=self.floatX,
        )


@dataclass(frozen=True, kw_only=True)
class LayerConfig(Settings):
    """The settings of the pre-training of a layer of a stack: see `StackConfig.layer`.

    Parameters
    ----------
    data : str
        The stack's data set; of the other settings of it a layer knows nothing.
    data_sha256 : str, optional
        The SHA-256 of what the layer learns from, the codes of the layer below.
    kind : str
        The kind of the training; not to be set.
    layer : int
        Its number, from 1.
    corruption_level, n_hidden, learning_rate, training_epochs, batch_size, seed, floatX
        As in `Config`.

    Raises
    ------
    ConfigError
        If a setting has an impossible value.
    """

    command = "dae.train_stacked"
    valid = MappingProxyType(VALID | {"kind": ("'layer'", lambda value: value == "layer")})

    kind: str = "layer"
    layer: int
    corruption_level: float
    n_hidden: int
    learning_rate: float
    training_epochs: int
    batch_size: int
    seed: int
    floatX: str  # noqa: N815


AnyConfig = Config | LogisticRegressionConfig | StackConfig | LayerConfig
"""What type checkers know of the settings that `fit` takes."""


def settings_from_record(record: dict) -> AnyConfig:
    """Return the settings of any kind that were stored as a dictionary.

    Parameters
    ----------
    record : dict
        As `dataclasses.asdict` returned it. Without a kind it is of a `Config`.

    Returns
    -------
    Settings

    Raises
    ------
    ValueError
        As `Settings.from_record` does.
    """
    kind = record.get("kind") if isinstance(record, dict) else None
    for settings in (LogisticRegressionConfig, StackConfig, LayerConfig):
        if kind == settings.kind:
            return settings.from_record(record)
    return Config.from_record(record)
