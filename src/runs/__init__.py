"""Runs: composed, fitted, saved, resumed and loaded. Loading the package registers the resolver of
their names, which conf/logger uses.
"""

from src.runs import naming

__all__ = ["naming"]
