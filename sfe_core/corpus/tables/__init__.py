"""Tables as people have them: what their rows and columns say of photos."""
