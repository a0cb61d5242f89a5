"""What the settings of all kinds of training share: how they check themselves."""

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

    Examples
    --------
    >>> from dae import Config
    >>> try:
    ...     Config(batch_size=0)
    ... except ConfigError as error:
    ...     print(f"{error.name}: {error.expected}")
    batch_size: a whole number above 0
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


def _is_list_of(is_valid, value):
    return isinstance(value, list) and len(value) > 0 and all(map(is_valid, value))


def _is_level(value):
    return _is_number(value) and 0 <= value <= 1


def _is_shape(value):
    is_shape = isinstance(value, list) and (len(value) == 2 or value[2:] == [3])
    return is_shape and all(_is_whole(side, 1, 2**31) for side in value)


YES_OR_NO = ("true or false", lambda value: isinstance(value, bool))


def _choice(*names):
    return " or ".join(names), lambda value: value in names


POSITIVE = ("a whole number above 0", lambda value: _is_whole(value, 1, 2**31 - 1))

EPOCHS = ("a whole number of epochs above 0", POSITIVE[1])

EPOCHS_OR_NONE = (EPOCHS[0], lambda value: value is None or EPOCHS[1](value))

MINIBATCHES = (
    "a whole number of minibatches above 1",
    lambda value: _is_whole(value, 2, 2**31 - 1),
)

LEVEL = ("a number from 0 to 1", _is_level)

RATE = ("a number above 0, at most 1e38", lambda value: _is_number(value) and 0 < value <= 1e38)

VALID = {
    "data": ("a name or a path", lambda value: isinstance(value, str)),
    "image_shape": ("a height and a width", lambda value: value is None or _is_shape(value)),
    "color": YES_OR_NO,
    "crop": YES_OR_NO,
    "autocontrast": YES_OR_NO,
    "background": ("a colour", lambda value: isinstance(value, str)),
    "skip_bad_images": YES_OR_NO,
    "data_sha256": ("a checksum", lambda value: value is None or isinstance(value, str)),
    "standardize": YES_OR_NO,
    "validation_fraction": (
        "a number between 0 and 1",
        lambda value: value is None or (_is_number(value) and 0 < value < 1),
    ),
    "corruption_levels": (
        "a list of numbers from 0 to 1",
        lambda value: _is_list_of(_is_level, value),
    ),
    "corruption": _choice("masking", "salt-and-pepper", "gaussian"),
    "corruption_level": (
        "a number from 0 to 1",  # and of Gaussian noise a larger one, too
        lambda value: _is_number(value) and 0 <= value <= 1e38,
    ),
    "cost": _choice("cross-entropy", "squared-error"),
    "shuffle": YES_OR_NO,
    "patience": EPOCHS_OR_NONE,
    "validate_every": EPOCHS_OR_NONE,
    "layer": POSITIVE,
    "n_hidden": POSITIVE,
    "hidden_layers_sizes": (
        "a list of whole numbers above 0",
        lambda value: _is_list_of(POSITIVE[1], value),
    ),
    "pretraining_epochs": (
        "a whole number, 0 for no pre-training",
        lambda value: _is_whole(value, 0, 2**31 - 1),
    ),
    "pretraining_learning_rate": RATE,
    "learning_rate": RATE,
    "training_epochs": POSITIVE,
    "batch_size": POSITIVE,
    "seed": ("a whole number from 0 to 2**32 - 1", lambda value: _is_whole(value, 0, 2**32 - 1)),
    "floatX": _choice("float64", "float32"),
}
"""For each setting what is expected, in words and as a function of the value."""


@dataclass(frozen=True)
class Settings:
    """What the settings of all kinds of training share: the data.

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
    validation_fraction : float, optional
        The part in (0, 1) of the training data that becomes validation data; for data without
        such. `fit`, which is given both, does not look at it.
    data_sha256 : str, optional
        The SHA-256 of the training data as floatX, in hexadecimal; `fit` fills it in.

    Attributes
    ----------
    command : str
        The module whose command trains with such settings.
    valid : dict
        For each setting what is expected, as in `VALID`.
    """

    command = None
    valid = VALID
    # Where a kind has no such setting:
    shuffle = False
    patience = None
    validate_every = 1
    standardize = False

    data: str = "mini-mnist"
    image_shape: list | None = None
    color: bool = False
    crop: bool = False
    autocontrast: bool = False
    background: str = "black"
    skip_bad_images: bool = False
    validation_fraction: float | None = None
    data_sha256: str | None = None

    def __post_init__(self):
        """Check every setting."""
        for field in fields(self):
            expected, is_valid = self.valid[field.name]
            value = getattr(self, field.name)
            if getattr(value, "shape", None) == ():
                value = value.item()
            elif isinstance(value, tuple):
                value = list(value)
            if not is_valid(value):
                raise ConfigError(field.name, value, expected)
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_record(cls, record):
        """Return the settings that were stored as a dictionary.

        Parameters
        ----------
        record : dict
            As `dataclasses.asdict` returned it; settings that are missing have their defaults.

        Returns
        -------
        Settings
            Of this class.

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

    def early_stopping(self, n_train_batches):
        """Return what the training's `EarlyStopping` is made with.

        Parameters
        ----------
        n_train_batches : int
            Number of minibatches in an epoch.

        Returns
        -------
        dict or None
            The arguments beside `n_train_batches`; None to train all epochs.
        """
        return None
