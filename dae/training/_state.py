"""The state of a training: every array that its steps change, under a name.

The names are those of a checkpoint and of ``model.npz``:

- A shared variable has its own name, such as ``W``, or ``unnamed`` if it has none.
- The streams of the model's `theano_rng` are one array together, ``streams``.
- What a callback keeps has the name of the callback's class before it: ``BestModel.W``.
- Of several variables with the same name the second gets the ending ``_1``, the third ``_2``
  and so on: first come the parameters, in the order of ``model.params``, then what else the
  updates change, in their order. A name that a file needs for something else, one of `RESERVED`,
  counts as taken.
"""

import numpy as np

from dae.random import RandomStreams

RESERVED = frozenset(
    ["format_version", "config", "history", "costs", "streams", "file", "args", "allow_pickle"]
)
"""The other arrays of a checkpoint, and the arguments of `numpy.savez`."""


def named(variables):
    """Return variables under the names that the module's docstring describes.

    Parameters
    ----------
    variables : iterable of shared variables
        In the order that decides between equal names; a variable may occur again.

    Returns
    -------
    dict
        From names to variables.
    """
    names = {}
    for variable in dict.fromkeys(variables):
        base = name = variable.name or "unnamed"
        ending = 0
        while name in names or name in RESERVED:
            ending += 1
            name = f"{base}_{ending}"
        names[name] = variable
    return names


class State:
    """Where a training has got to, as arrays to be saved and to go on from.

    Parameters
    ----------
    model : object
        It has `params`, and may have `theano_rng`, a `RandomStreams`.
    updated : iterable of shared variables
        What the steps change; parameters may be among them.
    callbacks : iterable of Callback, default=()
        What keeps a state of its own.

    Attributes
    ----------
    variables : dict
        From names to shared variables: all but the streams of the model's `theano_rng`.
    """

    def __init__(self, model, updated, callbacks=()):
        streams = getattr(model, "theano_rng", None)
        self._streams = streams if isinstance(streams, RandomStreams) else None
        in_streams = set() if self._streams is None else set(self._streams.updates())
        others = (variable for variable in updated if variable not in in_streams)
        self.variables = named([*model.params, *others])
        self._callbacks = callbacks

    def get(self):
        """Return the state.

        Returns
        -------
        dict
            From names to arrays, not to be written to, which later steps may change.

        Raises
        ------
        TypeError
            If a variable holds something else than an array, such as a generator of NumPy.
        """
        arrays = {}
        for name, variable in self.variables.items():
            value = variable.get_value(borrow=True)
            arrays[name] = np.asarray(value)
            if arrays[name].dtype.hasobject:
                raise TypeError(
                    f"the training changes {name}, a {type(value).__name__}, which a checkpoint "
                    "cannot hold; expected arrays, and noise from dae.RandomStreams"
                )
        if self._streams is not None:
            arrays["streams"] = self._streams.get_state()
        for callback in self._callbacks:
            for name, array in callback.get_state().items():
                arrays[_prefix(callback) + name] = array
        return arrays

    def set(self, arrays):
        """Set the variables to what `get` returned.

        Parameters
        ----------
        arrays : dict
            From names to arrays.

        Raises
        ------
        ValueError
            If the names, shapes or dtypes are not those of this training; nothing is changed.
        """
        expected, given = _described(self.get()), _described(arrays)
        if given != expected:
            raise ValueError(f"it holds {given}; the model and its updates have {expected}")
        for name, variable in self.variables.items():
            variable.set_value(arrays[name])
        if self._streams is not None:
            self._streams.set_state(arrays["streams"])
        for callback in self._callbacks:
            prefix = _prefix(callback)
            state = {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
            if state:
                callback.set_state(state)


def _prefix(callback):
    return f"{type(callback).__name__}."


def _described(arrays):
    """Return names, dtypes and shapes of arrays, in words."""
    return ", ".join(
        f"{name} {array.dtype}{list(array.shape)}" for name, array in sorted(arrays.items())
    )
