"""From a training checkpoint to a complete diffusers pipeline folder."""
