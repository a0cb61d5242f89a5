# The types of noise.py. They are not in it, since the worksheet shows what is.
from collections.abc import Callable

import pytensor.tensor as pt

from dae.random import RandomStreams

MAX_LEVELS: dict[str, float]

def masking_noise(
    theano_rng: RandomStreams,
    input: pt.TensorVariable,
    corruption_level: float | pt.TensorVariable,
) -> pt.TensorVariable: ...
def salt_and_pepper_noise(
    theano_rng: RandomStreams,
    input: pt.TensorVariable,
    corruption_level: float | pt.TensorVariable,
) -> pt.TensorVariable: ...
def gaussian_noise(
    theano_rng: RandomStreams,
    input: pt.TensorVariable,
    corruption_level: float | pt.TensorVariable,
) -> pt.TensorVariable: ...

NOISES: dict[str, Callable]
