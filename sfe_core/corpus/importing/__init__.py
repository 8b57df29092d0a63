"""Taking in data sets as people have them: lists, class folders, captions, units, renders.

Below tables, annotations and artefacts; preprocessing and inspection do not know of it, nor it of
them. In order: entries, tensor_pickles, rig_database, open_list, a reader a form, formats,
matching, merging, placing, problem_list, data_set.
"""
