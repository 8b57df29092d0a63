"""Fine-tuning: the recipe (build, step, loop, save), exact resume, and the launch."""
