"""The parametric head fitted to landmarks."""
