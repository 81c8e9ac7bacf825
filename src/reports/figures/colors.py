"""Colours that mean the same in all pictures."""

MEASURED, THEORY, WRONG = "tab:blue", "black", "tab:red"
