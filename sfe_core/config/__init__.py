"""sfe.yaml as typed, documented models: one default each, unknown keys refused."""
