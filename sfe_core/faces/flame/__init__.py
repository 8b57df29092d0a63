"""FLAME, the head model below EMOCA and DECA: its files, its skinning, its UV maps."""
