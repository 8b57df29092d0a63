"""What is read off a face: emotion, valence and arousal, identity."""
