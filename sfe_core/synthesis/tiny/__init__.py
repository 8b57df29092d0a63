"""How the shipped tiny weights are made, from nothing but synthetic faces.

`python -m sfe_core.synthesis.tiny.build --work DIR` runs every stage again: faces, autoencoder,
the two recognisers, text encoder and UNet, model cards. Stages already done in DIR are kept.
"""
