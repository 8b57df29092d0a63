"""Who is on the photos, which are copies, and which faces stand on one side of the split.

Below tables, manifest and annotations. In order: face_hash, duplicates, people_folders, subjects,
splits, face_vectors, identities, sides.
"""
