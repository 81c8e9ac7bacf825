"""Colours that mean the same in all pictures, and how they are seen on any ground."""

from matplotlib.patheffects import withStroke

MEASURED, THEORY, WRONG = "tab:blue", "black", "tab:red"
HALO = [withStroke(linewidth=4, foreground="white")]  # around lines on images
