"""What is said of photos: labels, captions, attributes, texts beside them."""
