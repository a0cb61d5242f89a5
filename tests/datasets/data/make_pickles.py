"""Write the pickles beside this file, with any Python from 2.7 on and its NumPy.

They hold train, valid and test of 6, 2 and 3 images of 12 pixels, (7 i + first) % 256 / 256.
"""

import gzip
import os
import sys

import numpy as np

try:
    import cPickle as pickle  # noqa: N813
except ImportError:
    import pickle


def pair(n, first):
    x = (np.arange(n * 12).reshape(n, 12) * 7 + first) % 256
    return (x / 256.0).astype("float32"), np.arange(n, dtype="int64") % 3


data = pair(6, 0), pair(2, 100), pair(3, 200)
folder = os.path.dirname(os.path.abspath(__file__))
python = "python{}.{}".format(*sys.version_info[:2])
numpy = "numpy{}".format(np.__version__.rpartition(".")[0])
for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
    name = "{}-{}-protocol{}.pkl.gz".format(python, numpy, protocol)  # noqa: UP032
    with gzip.GzipFile(os.path.join(folder, name), "wb", mtime=0) as f:
        f.write(pickle.dumps(data, protocol))
