"""Starting a run: processes, clusters, preflight."""
