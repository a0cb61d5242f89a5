# The types of autoencoder.py. They are not in it, since the worksheet shows what is.
from typing import Any, Self

import pytensor.tensor as pt
from numpy.random import RandomState
from pytensor.tensor.sharedvar import TensorSharedVariable

from dae.models._numeric import NumericMethods
from dae.random import RandomStreams

class Autoencoder(NumericMethods):
    cost: str
    about: dict[str, Any]
    n_visible: int
    n_hidden: int
    x: pt.TensorVariable
    W: TensorSharedVariable
    b: TensorSharedVariable
    b_prime: TensorSharedVariable
    W_prime: pt.TensorVariable
    params: list[TensorSharedVariable]
    theano_rng: RandomStreams

    def __init__(
        self,
        numpy_rng: RandomState | None,
        theano_rng: RandomStreams | None = None,
        input: pt.TensorVariable | None = None,
        n_visible: int | None = None,
        n_hidden: int | None = None,
        W: pt.TensorVariable | None = None,
        bhid: pt.TensorVariable | None = None,
        bvis: pt.TensorVariable | None = None,
        *,
        cost: str = "cross-entropy",
        tied_weights: bool = True,
    ) -> None: ...
    def get_corrupted_input(
        self, input: pt.TensorVariable, corruption_level: float | pt.TensorVariable
    ) -> pt.TensorVariable: ...
    def get_hidden_values(self, input: pt.TensorVariable) -> pt.TensorVariable: ...
    def get_reconstructed_input(self, hidden: pt.TensorVariable) -> pt.TensorVariable: ...
    def get_cost_updates(
        self,
        corruption_level: float | pt.TensorVariable,
        learning_rate: float | pt.TensorVariable,
    ) -> tuple[pt.TensorVariable, dict]: ...
    def get_validation_loss(self) -> pt.TensorVariable: ...
    def feedforward(self) -> pt.TensorVariable: ...
    def __copy__(self) -> Self: ...
    def __deepcopy__(self, memo: dict) -> Self: ...
    def __getstate__(self) -> tuple: ...
    def __setstate__(self, state: tuple) -> None: ...

class DenoisingAutoencoder(Autoencoder):
    corruption: str

    def __init__(self, *args: Any, corruption: str = "masking", **kwargs: Any) -> None: ...
    def get_corrupted_input(
        self, input: pt.TensorVariable, corruption_level: float | pt.TensorVariable
    ) -> pt.TensorVariable: ...
