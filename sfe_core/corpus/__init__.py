"""The data set on disk: layout, manifest, labels, captions, splits, reading and balancing."""
