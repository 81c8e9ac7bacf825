"""Readouts make probabilities and scores of embeddings. Loading the package loads all of them,
since each states which losses go with it alone.
"""

from importlib import import_module
from pkgutil import iter_modules

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
