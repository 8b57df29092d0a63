"""Editing photos: a face with another expression, pose or light, drawn by a rig."""
