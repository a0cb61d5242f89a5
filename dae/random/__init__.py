"""Random variables of a graph: Theano's seeded streams, and their inner loops."""

from dae.random.streams import RandomStreams

__all__ = ["RandomStreams"]
