"""What makes plain formulas fast: rewrites, the ops they put in, and their inner loops."""

from dae.compiler import rewrites

__all__ = ["rewrites"]
