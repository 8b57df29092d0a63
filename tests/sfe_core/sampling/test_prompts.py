import pytest

from sfe_core.sampling.prompts import clean_prompt


@pytest.mark.parametrize(
    ("caption", "prompt"),
    [
        ("Happy, close-up woman's face", "Happy, close-up woman's face"),
        ("sad, blurry, face", "sad, face"),
        ("a Blurred photo of a face", "a photo of a face"),
        ("anger, grainy", "anger"),
        ("fear, low-quality photo", "fear, high-quality photo"),
        ("fear, low quality photo", "fear, high quality photo"),
        ("unblurred,  face", "unblurred, face"),
        ("blurry", ""),
    ],
)
def test_words_on_photo_quality_are_taken_out_or_turned_round(caption: str, prompt: str):
    assert clean_prompt(caption) == prompt
