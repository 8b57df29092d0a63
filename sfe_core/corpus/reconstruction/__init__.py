"""Heads from photos into files for other programs, outside of any corpus.

Above preprocessing and artefacts. In order: meshes, outputs, records, reconstruct.
"""
