"""The network that draws a photo from a face's shading, normals and albedo (DiffusionRig)."""
