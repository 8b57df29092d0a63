"""Every model file sfe can use: what it is for, under which licence, and where it lies.

`locate` is the one door: a name (or a path) in, an existing path out, nothing downloaded.
"""

from sfe_core.assets.store import assets_root, locate

__all__ = ["assets_root", "locate"]
