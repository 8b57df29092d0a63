"""EMOCA and DECA: their networks, read from the published checkpoints, and the heads they see."""
