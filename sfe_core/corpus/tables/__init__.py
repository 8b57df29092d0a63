"""Tables as people have them: what their rows and columns say of photos.

Above all other parts of the corpus. In order: tables, key_matcher, classes, survey, votes,
column_names, columns, numbering, cells.
"""
