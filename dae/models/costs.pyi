# The types of costs.py. They are not in it, since the worksheet shows what is.
from collections.abc import Callable

import pytensor.tensor as pt

def cross_entropy(x: pt.TensorVariable, z: pt.TensorVariable) -> pt.TensorVariable: ...
def squared_error(x: pt.TensorVariable, z: pt.TensorVariable) -> pt.TensorVariable: ...

COSTS: dict[str, Callable]
