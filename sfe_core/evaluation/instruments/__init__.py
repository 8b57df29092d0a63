"""What reads numbers off pictures."""
