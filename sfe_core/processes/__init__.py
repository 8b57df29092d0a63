"""Starting worker processes, and where work is put: launching, placement, events, signals."""
