"""Synthetic photographs: parametric faces rendered with exact labels, and their folder layout."""
