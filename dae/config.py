"""The settings of a run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Everything that decides the result of a run; the defaults are the worksheet's."""

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
