"""Programs that measure; each writes a folder of results. Run from the source tree, not installed."""
