"""What makes plain formulas fast and safe: rewrites of PyTensor's graphs, and the ops they put in.

Importing this package, or `dae.models`, switches the rewrites on: for all functions that are
compiled from then on, in this process, without a ``mode``. They are in PyTensor's own database
under the tag ``"dae"``. To compile a function without them, exclude the tag:

    mode = pytensor.compile.mode.get_default_mode().excluding("dae")
    pytensor.function(inputs, outputs, mode=mode)

The ops are compiled by Numba, PyTensor's default. Functions for its C, JAX and PyTorch backends
are left as PyTensor has them, and so are all formulas that are not recognised:

- a matrix product, with the row or matrix that is added to it, and sums of such products, which
  go into the memory of a parameter in its update, two at once (`ops.Gemm`; transposes are not
  copied);
- the cross-entropy of a sigmoid, summed over rows or over all, and its gradient
  (`ops.CrossEntropy`): both from one exponential function, and finite for saturated units;
- the logarithms of the probabilities that a softmax gives to the classes of rows, and their
  gradient (`ops.LogLikelihood`);
- the largest number of each row, also of a softmax, which then is not computed (`ops.RowArgmax`);
- the sigmoid, and the sums of columns (`ops.Sigmoid`, `ops.ColumnSum`).

Large products and passes are divided among the cores that the process may use, or as many threads
as `set_num_threads` or the environment variable ``OMP_NUM_THREADS`` says. The digits are the same.

In the mode FAST_COMPILE, functions with logarithms get the rewrites by which PyTensor's other
modes keep them finite.
"""

import numpy as np

from dae.compiler import _rewrites  # noqa: F401
from dae.compiler._threads import get_num_threads, set_num_threads

__all__ = ["get_num_threads", "set_num_threads"]

# What a large minibatch needs for a moment, glibc would give back to the system after each step,
# and get again page by page in the next one, for a third of its time. It keeps blocks that are not
# larger than one that was freed before, up to 32 MiB (see mallopt(3), M_MMAP_THRESHOLD).
np.empty(2**25 - 2**16, np.uint8)
