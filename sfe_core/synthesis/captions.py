"""Captions of synthetic photographs, from what is known of them."""

from __future__ import annotations

import numpy as np

from sfe_core.synthesis.spec import FaceSpec

SHOTS = ("close-up portrait", "portrait", "photo", "headshot")
BACKGROUND_WORDS = {
    "plain": "plain background", "studio": "studio background",
    "indoor": "indoors", "outdoor": "outdoors", "pattern": "patterned background",
    "night": "at night",
}  # fmt: skip
LIGHT_WORDS = {
    "soft": "soft light", "side": "side light", "warm": "warm light", "cool": "cool light",
    "bright": "bright light", "back": "light from behind", "hard": "hard light",
    "coloured": "coloured light", "dim": "dim light",
}  # fmt: skip
STYLE_WORDS = {
    "buzz": "very short {} hair", "short": "short {} hair", "medium": "{} hair",
    "fringe": "{} hair with a fringe", "curly": "curly {} hair",
    "bob": "{} hair to the chin", "long": "long {} hair",
}  # fmt: skip


def person_words(spec: FaceSpec) -> str:
    """Age group, sex, hair, beard, glasses and hat.

    As in "a young man with short brown hair, a beard and glasses, in a cap".
    """
    person, worn = spec.person, spec.scene.worn
    group = "young" if person.age < 35 else "middle-aged" if person.age < 58 else "old"
    noun = "man" if person.male else "woman"
    article = "an" if group == "old" else "a"
    if person.hair_style == "bald":
        details = ["no hair"]
    else:
        details = [STYLE_WORDS[person.hair_style].format(person.hair_name)]
    if person.beard >= 0.9:
        details.append("a beard")
    if worn.sunglasses or person.glasses != "none":
        details.append("sunglasses" if worn.sunglasses else "glasses")
    *first, last = details
    listed = f"{', '.join(first)} and {last}" if first else last
    hat = f", in a {worn.hat}" if worn.hat != "none" else ""
    return f"{article} {group} {noun} with {listed}{hat}"


def caption(spec: FaceSpec, with_emotion: bool, rng: np.random.Generator) -> str:
    """One caption; with the emotion it begins with its word, as in "Happy, close-up portrait of …".

    Args:
        spec: what the photograph shows.
        with_emotion: captions on the web seldom name the emotion, so a base model learns without.
        rng: chooses the words for the shot and which surroundings are named.
    """
    shot = SHOTS[int(rng.integers(len(SHOTS)))]
    surroundings = [BACKGROUND_WORDS[spec.scene.background], LIGHT_WORDS[spec.scene.light_name]]
    named = [words for words in surroundings if rng.random() < 0.75]
    text = ", ".join([f"{shot} of {person_words(spec)}", *named])
    if with_emotion:
        return f"{spec.emotion.capitalize()}, {text}"
    return text[0].upper() + text[1:]
