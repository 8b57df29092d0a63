"""The engine of training: it owns time (updates, devices, saving, resuming) and knows no recipe."""
