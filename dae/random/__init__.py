"""Theano's random streams."""

from dae.random.streams import RandomStreams

__all__ = ["RandomStreams"]
