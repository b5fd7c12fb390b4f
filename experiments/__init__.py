"""Runs that each show one thing: `python -m experiments.<name>`. Run from the source tree, not installed."""
