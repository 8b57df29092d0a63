"""Taking in data sets as people have them: lists, class folders, captions, units, renders."""
