"""The files of a face: which kinds there are, what shapes each, how it is written.

Of the corpus it knows only the layout. In order: given_maps, writing, full_canvas, face_scene,
kinds (which names face_scene's type alone), hashes.
"""
