"""Where batches come from: memory, the cache on disk, or encoded as they are asked for."""
