"""Faces and their landmarks in photos, at any angle."""
