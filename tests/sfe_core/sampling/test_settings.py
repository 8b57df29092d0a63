import dataclasses
import shutil
from pathlib import Path

import pytest

from sfe_core.config.picture_sections import SamplingConfig
from sfe_core.errors import RunError
from sfe_core.files import sha256_json
from sfe_core.sampling import settings as module
from sfe_core.sampling.settings import DrawSettings, draw_settings, weights_sha256

PLAIN = DrawSettings("text", "ab", "ddim", 20, 4.0, "", 42, 64, "float32", {}, False, 0.0)

LATER = (
    "long_prompts",
    "prompt_weights",
    "units_guidance_scale",
    "expressions",
    "expression_guidance_scale",
    "fusion_strength",
    "loras",
)


@pytest.mark.parametrize("field", dataclasses.fields(DrawSettings), ids=lambda field: field.name)
def test_every_field_decides_the_folder(field: dataclasses.Field):
    value = getattr(PLAIN, field.name)
    other = {"depth": 0.5} if isinstance(value, dict) else (value and value * 2) or True
    changed = dataclasses.replace(PLAIN, **{field.name: other})
    assert changed.sha256 != PLAIN.sha256
    assert dataclasses.replace(PLAIN).folder_name == PLAIN.folder_name


def test_how_prompts_are_read_leaves_older_pictures_their_folders():
    before = dataclasses.asdict(PLAIN)
    for later in LATER:
        del before[later]
    assert PLAIN.sha256 == sha256_json(before)


def fake_pipeline(folder: Path) -> Path:
    for part in ("unet", "vae", "guidance_encoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "weights").write_text(part)
    (folder / "README.md").write_text("hello")
    return folder


def test_only_what_draws_is_hashed(tiny_base: Path, tmp_path: Path):
    folder = guided_pipeline(tiny_base, tmp_path)

    def hashes() -> list[str]:
        made = (
            draw_settings(
                variant, folder, SamplingConfig(), 64, "float32", ("depth",), tmp_path / "c"
            )
            for variant in ("text", "guided")
        )
        return [one.weights_sha256 for one in made]

    text, guided = hashes()
    (folder / "README.md").write_text("changed")
    assert hashes() == [text, guided]
    (folder / "guidance_encoder" / "weights").write_text("other weights")
    assert hashes()[0] == text
    assert hashes()[1] != guided


def test_both_text_encoders_of_sdxl_are_hashed(tiny_sdxl: Path, tmp_path: Path):
    folder = guided_pipeline(tiny_sdxl, tmp_path)

    def digest() -> str:
        made = draw_settings("text", folder, SamplingConfig(), 64, "float32", (), tmp_path / "c")
        return made.weights_sha256

    first = digest()
    for part in ("text_encoder_2", "tokenizer_2"):
        (folder / part / "more").write_text("changed")
        assert digest() != first
        (folder / part / "more").unlink()
    assert digest() == first


def guided_pipeline(base: Path, root: Path) -> Path:
    """A copy of a base with something where a package has its guidance encoders."""
    folder = Path(shutil.copytree(base, root / "pipeline"))
    (folder / "guidance_encoder").mkdir()
    (folder / "guidance_encoder" / "weights").write_text("weights")
    return folder


def test_strengths_are_those_of_the_packages_maps_and_only_if_guided(
    tiny_base: Path, tmp_path: Path
):
    folder = guided_pipeline(tiny_base, tmp_path)
    sampling = SamplingConfig(strengths={"mesh": 0.5, "depth": 0.2})
    for variant, expected in (("text", {}), ("guided", {"mesh": 0.5, "landmarks": 1.0})):
        made = draw_settings(
            variant, folder, sampling, 64, "float32", ("mesh", "landmarks"), tmp_path / "c"
        )
        assert made.strengths == expected


def test_the_hash_is_of_the_bytes_and_answered_from_the_cache(tmp_path: Path, monkeypatch):
    first, cache = fake_pipeline(tmp_path / "first"), tmp_path / "cache.json"
    second = Path(shutil.copytree(first, tmp_path / "second"))
    digest = weights_sha256(first, ("unet", "vae"), cache)
    assert weights_sha256(second, ("unet", "vae"), cache) == digest

    hashed = []
    real = module.sha256_folder
    monkeypatch.setattr(
        module, "sha256_folder", lambda path: hashed.append(path.name) or real(path)
    )
    assert weights_sha256(first, ("unet", "vae"), cache) == digest
    assert hashed == []
    (first / "vae" / "weights").write_text("other weights")
    assert weights_sha256(first, ("unet", "vae"), cache) != digest
    assert hashed == ["vae"]
    cache.write_text("{torn")
    assert weights_sha256(second, ("unet", "vae"), cache) == digest


def test_a_folder_without_weights_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="holds no pipeline"):
        weights_sha256(tmp_path, ("unet",), tmp_path / "cache.json")
