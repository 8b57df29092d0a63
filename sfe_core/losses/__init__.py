"""The loss terms, one pure function each, and the composite of them."""
