"""What is read off a photo: faces, landmarks, crops, heads, depth, emotion."""
