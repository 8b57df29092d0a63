"""The eight emotions, in AffectNet's order; an emotion's index is its place in `EMOTIONS`."""

EMOTIONS: tuple[str, ...] = (
    "neutral",
    "happy",
    "sad",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
)
