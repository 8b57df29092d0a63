"""The diffusion model: loading it, guiding it with face maps, and the maths of its predictions."""
