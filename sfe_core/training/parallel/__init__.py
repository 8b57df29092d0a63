"""Devices and shards."""
