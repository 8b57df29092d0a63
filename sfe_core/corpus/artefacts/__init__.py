"""The files of a face: which kinds there are, what shapes each, how it is written."""
