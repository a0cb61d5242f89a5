"""The settings of a training, which check themselves."""

from dataclasses import dataclass, fields


class ConfigError(ValueError):
    """A setting has an impossible value.

    Parameters
    ----------
    name : str
        The setting.
    value : object
        What it was given.
    expected : str
        What it may be, in words.
    """

    def __init__(self, name, value, expected):
        super().__init__(name, value, expected)
        self.name = name
        self.value = value
        self.expected = expected

    def __str__(self):
        """Return the message: one line."""
        return f"{self.name} is {self.value!r}; expected {self.expected}"


def _is_whole(value, low, high):
    return type(value) is int and low <= value <= high


def _is_number(value):
    return type(value) in (int, float)


def _is_shape(value):
    is_shape = isinstance(value, list) and (len(value) == 2 or value[2:] == [3])
    return is_shape and all(_is_whole(side, 1, 2**31) for side in value)


YES_OR_NO = ("true or false", lambda value: isinstance(value, bool))

POSITIVE = ("a whole number above 0", lambda value: _is_whole(value, 1, 2**31 - 1))

EPOCHS_OR_NONE = (
    "a whole number of epochs above 0",
    lambda value: value is None or _is_whole(value, 1, 2**31 - 1),
)

VALID = {
    "data": ("a name or a path", lambda value: isinstance(value, str)),
    "image_shape": ("a height and a width", lambda value: value is None or _is_shape(value)),
    "color": YES_OR_NO,
    "crop": YES_OR_NO,
    "autocontrast": YES_OR_NO,
    "background": ("a colour", lambda value: isinstance(value, str)),
    "skip_bad_images": YES_OR_NO,
    "data_sha256": ("a checksum", lambda value: value is None or isinstance(value, str)),
    "corruption_level": (
        "a number from 0 to 1",
        lambda value: _is_number(value) and 0 <= value <= 1,
    ),
    "shuffle": YES_OR_NO,
    "patience": EPOCHS_OR_NONE,
    "validate_every": EPOCHS_OR_NONE,
    "n_hidden": POSITIVE,
    "learning_rate": (
        "a number above 0, at most 1e38",
        lambda value: _is_number(value) and 0 < value <= 1e38,
    ),
    "training_epochs": POSITIVE,
    "batch_size": POSITIVE,
    "seed": ("a whole number from 0 to 2**32 - 1", lambda value: _is_whole(value, 0, 2**32 - 1)),
    "floatX": ("float64 or float32", lambda value: value in ("float64", "float32")),
}
"""For each setting what is expected, in words and as a function of the value."""


@dataclass(frozen=True)
class Config:
    """The settings of a training; the defaults are the worksheet's.

    NumPy's numbers become Python's, and a tuple a list, as JSON has them.

    Parameters
    ----------
    data : str, default="mini-mnist"
        Name or path of the data set.
    image_shape : (int, int), (int, int, 3) or list of such int, optional
        Height and width of an image in pixels, and for colour images the number of channels; the
        pictures that are drawn of a run need it.
    color, crop, autocontrast, skip_bad_images : bool, default=False
        How images in files are read: see `dae.datasets.read_data`.
    background : str, default='black'
        The same.
    data_sha256 : str, optional
        The SHA-256 of the training data as floatX, in hexadecimal; `fit` fills it in.
    corruption_level : float, default=0.3
        The probability in [0, 1] that a value of the input is hidden; 0 trains an autoencoder
        without noise.
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
    dae.training.config.ConfigError: n_hidden is 0; expected a whole number above 0
    """

    data: str = "mini-mnist"
    image_shape: list | None = None
    color: bool = False
    crop: bool = False
    autocontrast: bool = False
    background: str = "black"
    skip_bad_images: bool = False
    data_sha256: str | None = None
    corruption_level: float = 0.3
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
        for name, (expected, is_valid) in VALID.items():
            value = getattr(self, name)
            if getattr(value, "shape", None) == ():
                value = value.item()
            elif isinstance(value, tuple):
                value = list(value)
            if not is_valid(value):
                raise ConfigError(name, value, expected)
            object.__setattr__(self, name, value)

    @classmethod
    def from_record(cls, record):
        """Return the settings that were stored as a dictionary.

        Parameters
        ----------
        record : dict
            As `dataclasses.asdict` returned it; settings that are missing have their defaults.

        Returns
        -------
        Config

        Raises
        ------
        ValueError
            If it is no dictionary, or has unknown settings or impossible values.
        """
        if not isinstance(record, dict):
            raise ValueError("its settings are not a dictionary")
        unknown = sorted(record.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(
                f"has settings that this version of dae does not know: {', '.join(unknown)}; go "
                "on with the version that wrote it (see config.json)"
            )
        return cls(**record)
