"""What the base models of one kind are made of: a file each, found by `known.family_of`."""
