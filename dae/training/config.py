"""The settings of a run."""

from dataclasses import dataclass, fields


def _is_whole(value, low, high):
    return type(value) is int and low <= value <= high


def _is_shape(value):
    return isinstance(value, list) and [_is_whole(side, 1, 2**31) for side in value] == [True] * 2


POSITIVE = ("a whole number above 0", lambda value: _is_whole(value, 1, 2**31 - 1))

VALID = {
    "data": ("a name or a path", lambda value: isinstance(value, str)),
    "image_shape": ("a height and a width", lambda value: value is None or _is_shape(value)),
    "data_sha256": ("a checksum", lambda value: value is None or isinstance(value, str)),
    "corruption_level": (
        "a number from 0 to 1",
        lambda value: type(value) in (int, float) and 0 <= value <= 1,
    ),
    "n_hidden": POSITIVE,
    "learning_rate": (
        "a number above 0, at most 1e38",
        lambda value: type(value) in (int, float) and 0 < value <= 1e38,
    ),
    "training_epochs": POSITIVE,
    "batch_size": POSITIVE,
    "seed": ("a whole number from 0 to 2**32 - 1", lambda value: _is_whole(value, 0, 2**32 - 1)),
    "floatX": ("float64 or float32", lambda value: value in ("float64", "float32")),
}
"""For each setting what is expected, in words and as a function of the value."""


@dataclass(frozen=True)
class Config:
    """Everything that decides the result of a run; the defaults are the worksheet's.

    Raises
    ------
    ValueError
        If a setting has an impossible value; the message names it.
    """

    data: str = "mini-mnist"
    image_shape: list | None = None
    """Height and width in pixels; known when the data has been read."""
    data_sha256: str | None = None
    """In hexadecimal, of the training images as floatX; known when the data has been read."""
    corruption_level: float = 0.3
    n_hidden: int = 100
    learning_rate: float = 0.1
    training_epochs: int = 200
    batch_size: int = 20
    seed: int = 123
    floatX: str = "float64"  # noqa: N815

    def __post_init__(self):
        """Check every setting."""
        for name, (expected, is_valid) in VALID.items():
            value = getattr(self, name)
            if not is_valid(value):
                raise ValueError(f"{name} is {value!r}; expected {expected}")

    @classmethod
    def from_record(cls, record):
        """Return the settings that were stored as a dictionary.

        Parameters
        ----------
        record : dict
            As `dataclasses.asdict` gave it; settings that are missing have their defaults.

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
