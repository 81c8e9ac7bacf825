"""Readouts make probabilities and scores of embeddings. Loading the package loads all of them,
since each states which losses go with it alone.
"""

from src.readouts import head, kernel, sigmoid, softmax, subspaces, text

__all__ = ["head", "kernel", "sigmoid", "softmax", "subspaces", "text"]
