"""One readable file a recipe: networks, data, chance, loss, samples."""
