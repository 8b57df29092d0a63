"""The personal protocol: what it asks for, what it makes of readings, and a run from end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.base_expressions import begin_expressions
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.loading import read_configs
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation import personal_protocol as module
from sfe_core.evaluation.album import ReadAlbum, album_of
from sfe_core.evaluation.instruments.change_probe import ChangeProbe
from sfe_core.evaluation.instruments.probes import Instrument
from sfe_core.evaluation.personal_commands import (
    NEUTRAL,
    Names,
    PersonalCommand,
    at_strength,
    names_of,
    of_class,
    personal_commands,
    strengths_of,
)
from sfe_core.evaluation.personal_protocol import evaluate_personal, record_of
from sfe_core.evaluation.personal_scoring import PersonalCourse, probability_of
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.summary import EvaluationSummary, PersonalOfSet
from sfe_core.faces.crop import crop
from sfe_core.packaging.class_prompts import ClassPrompts
from sfe_core.sampling.pngs import read_record
from tests.corpora import write_corpus
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.evaluation.conftest import CROP_PX

ANNA = Names("sks woman", "woman")
STRENGTHS = (0.5, 1.0)


def commands(noises: int = 3, embedded: bool = True) -> list[PersonalCommand]:
    return personal_commands(ANNA, noises, STRENGTHS, embedded)


# ---- What is asked for ---------------------------------------------------------------------------


def test_embeddings_are_told_beside_a_prompt_without_the_emotions_name():
    asked = {one.name: one for one in commands()}
    assert len(asked) == 3 * (1 + 7 * 2 + 8)
    happy = asked["person/001/happy-0.5"]
    assert (happy.prompt, happy.told) == ("photo of sks woman", {"happy": 0.5})
    assert asked["person/001/neutral"].told == {NEUTRAL: 1.0}
    assert asked["class/001/happy"].prompt == "photo of woman, happy"
    assert happy.beside == "person/001/neutral" and happy.who == "noise 1"
    assert asked["class/002/happy"].beside == "class/000/happy"
    assert {asked[one.beside].emotion for one in of_class(commands())} == set(EMOTIONS)


def test_words_have_one_strength():
    asked = commands(embedded=False)
    assert strengths_of(asked) == [1.0] and not any(one.told for one in asked)
    assert {one.prompt for one in asked if one.part == "person"} == {
        f"photo of sks woman, {emotion}" for emotion in EMOTIONS
    }


def test_each_strength_shows_eight_expressions_of_each_noise_in_one_order():
    order = [(one.number, one.emotion) for one in of_class(commands())]
    for strength in STRENGTHS:
        chosen = at_strength(commands(), strength)
        assert [(one.number, one.emotion) for one in chosen] == order
        assert {one.strength for one in chosen} == {0.0, strength}


def test_the_person_is_named_by_the_settings_or_the_captions():
    captions = {"token": "sks", "class_word": "man", "class_words": {"anna": "woman"}}
    recipe = {"captions": captions}
    assert names_of(Config.model_validate(recipe), "anna") == ANNA
    assert names_of(Config.model_validate(recipe), "") == Names("sks man", "man")
    own = {"evaluate": {"person": "Anna", "person_class": "lady"}}
    assert names_of(Config.model_validate(recipe | own), "anna") == Names("Anna", "lady")
    with pytest.raises(UserError, match="no person is named.*captions.token"):
        names_of(Config(), "anna")


def test_pictures_of_one_number_start_from_one_noise():
    settings = SimpleNamespace(sha256="0", seed=5)
    records = [record_of(one, settings) for one in commands(2)]
    seeds = {(one["key"].split("/")[1], one["seed"]) for one in records}
    assert len(seeds) == 2
    told = next(one for one in records if one["key"] == "person/000/happy-0.5")
    assert told["expressions"] == {"happy": 0.5}
    assert "expressions" not in next(one for one in records if one["key"].startswith("class"))


# ---- What is made of readings --------------------------------------------------------------------

EMBEDDER = "identity_eye"
PERSON, STRANGER = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def read(
    asked: list[PersonalCommand], shows: dict[float, float], keeps: dict[float, float]
) -> Readings:
    """A model that shows an expression at `shows` of a strength, and is the person by `keeps`.

    The judge gives the asked expression the share `shows`, the rest in equal parts.
    """
    logits, vectors, distances = [], [], []
    for one in asked:
        share = np.full(8, (1.0 - shows[one.strength]) / 7)
        share[EMOTIONS.index(one.emotion)] = shows[one.strength]
        if one.emotion == NEUTRAL and one.part == "person":
            share = np.full(8, 0.02)
            share[EMOTIONS.index(NEUTRAL)] = 0.86
        logits.append(np.log(share))
        kept = keeps[one.strength] if one.part == "person" else 0.0
        vectors.append(kept * PERSON + (1 - kept**2) ** 0.5 * STRANGER)
        distances.append(0.4 if one.part == "class" else 0.5 * one.strength)
    count = len(asked)
    found = np.full(count, np.nan)
    columns = {
        "judge": {
            "logits": np.array(logits), "valence": found, "arousal": found,
            "features": np.zeros((count, 2)),
        },
        "detector": {"detected": np.ones(count)},
        EMBEDDER: {"embedding": np.array(vectors)},
        "near": {"distance": np.array(distances)},
        "change": {"inside": 8.0 * np.array(distances), "outside": 2.0 * np.array(distances)},
    }  # fmt: skip
    names = np.array([one.name for one in asked])
    return Readings(names, np.full(count, ""), columns, ("judge",))


def course(models: dict[str, Readings], asked: list[PersonalCommand]) -> PersonalCourse:
    tools = {
        name: Instrument(name, "", "", kind)
        for name, kind in (
            ("judge", "judge"), ("detector", "detector"), (EMBEDDER, "identity"),
            ("near", "perceptual"), ("change", "mask"),
        )
    }  # fmt: skip
    config = Config.model_validate({"evaluate": {"bootstrap": 60}})
    meter = SimpleNamespace(instruments=tools, perceptual="near", recognisers=("judge",))
    bench = SimpleNamespace(meter=meter, workspace=SimpleNamespace(config=config))
    photos = read(asked[:2], {0.0: 0.1, 0.5: 0.5, 1.0: 0.9}, {0.0: 1.0, 0.5: 1.0, 1.0: 1.0})
    album = ReadAlbum(photos, np.stack([PERSON, 2 * PERSON]), 0.9, None)
    return PersonalCourse(bench, asked, album, EMBEDDER, models)


LINE = {0.0: 0.02, 0.5: 0.46, 1.0: 0.9}
STILL = dict.fromkeys(LINE, 0.02)
KEPT, LOST = dict.fromkeys(LINE, 0.95), {0.0: 0.95, 0.5: 0.6, 1.0: 0.1}
BASE = {0.0: 0.5, 0.5: 0.5, 1.0: 0.5}


@pytest.fixture(scope="module")
def measured() -> dict[str, PersonalOfSet]:
    asked = commands(4)
    models = {
        "base": read(of_class(asked), BASE, KEPT),
        "good": read(asked, LINE, KEPT),
        "lazy": read(asked, STILL, KEPT),
        "overdone": read(asked, LINE, LOST),
    }
    found = course(models, asked).result("sks woman")
    assert (found.same, found.different) == (0.9, 0.0) and found.least == pytest.approx(0.45)
    assert found.different_are.startswith("the base")
    return {one.title: one for one in found.sets.values()}


def test_the_curve_tells_what_is_shown_and_kept_at_each_strength(measured):
    points = measured["good"].points
    assert [point.strength for point in points] == [0.0, 0.5, 1.0]
    assert [point.shown.value for point in points] == [0.0, 1.0, 1.0]
    assert [point.probability.value for point in points] == pytest.approx([0.02, 0.46, 0.9])
    assert [point.identity.value for point in points] == pytest.approx([0.95] * 3)
    assert points[1].shown.n == 4 * 7
    low, high = points[1].shown.low, points[1].shown.high
    assert low < 1.0 and high == 1.0  # four noises are no proof
    assert [p.identity.value for p in measured["overdone"].points] == pytest.approx(
        [0.95, 0.6, 0.1]
    )


def test_lazy_and_over_edited_models_are_told_apart(measured):
    at_full = {
        name: {part: getattr(one.points[-1], part).value for part in ("done", "lazy", "overdone")}
        for name, one in measured.items()
    }
    assert at_full == {
        "good": {"done": 1.0, "lazy": 0.0, "overdone": 0.0},
        "lazy": {"done": 0.0, "lazy": 1.0, "overdone": 0.0},
        "overdone": {"done": 0.0, "lazy": 0.0, "overdone": 1.0},
    }


def test_linearity_and_monotony_are_those_of_the_sweeps(measured):
    assert measured["good"].linearity.value == pytest.approx(1.0)
    assert measured["good"].monotone.value == 1.0
    assert measured["lazy"].linearity.value == 0.0 == measured["lazy"].monotone.value
    # 0.88 of probability for half of a distance.
    assert measured["good"].gain.value == pytest.approx(0.88 / 0.5)
    assert measured["good"].locality.value == pytest.approx(4.0)
    assert measured["lazy"].gain.value == pytest.approx(0.0, abs=1e-9)


def test_what_the_class_prompt_lost_is_told_beside_the_base(measured):
    assert measured["good"].class_shown.value == 1.0  # nine tenths is seen first
    assert measured["lazy"].class_shown.value == 0.0
    assert measured["lazy"].class_kept.value == -1.0  # the base shows all of them
    assert measured["good"].spread_kept.value == pytest.approx(1.0)


def test_sets_are_scored_beside_the_base_noise_by_noise():
    asked = commands(4)
    models = {
        "base": read(of_class(asked), BASE, KEPT),
        "": read(asked, LINE, KEPT),
    }
    run = course(models, asked)
    sets = run.sets()
    assert list(sets) == ["base", "person_0.5", "person_1", "class"]
    scored = run.scored(sets)
    assert {one.info.role for one in sets.values()} == {"base", "tuned", "other"}
    assert scored.scores["person_1"]["top1"].value == 1.0
    assert scored.scores["person_1"]["top1"].n == 32
    assert scored.scores["person_1"]["top1"].people is None  # noises are no people
    identity = next(name for name in scored.metrics if name.startswith("identity"))
    assert scored.scores["person_1"][identity].value == pytest.approx(0.95)
    assert scored.scores["base"][identity].value == pytest.approx(0.0)
    change = scored.deltas["person_1"][identity]
    assert change.value == pytest.approx(0.95) and change.p_value == pytest.approx(0.125)
    assert not any(name.startswith(("same_", "top1_of")) for name in scored.metrics)


def test_one_strength_has_no_linearity():
    asked = commands(3, embedded=False)
    model = read(asked, {0.0: 0.02, 1.0: 0.9}, {0.0: 0.9, 1.0: 0.9})
    run = course({"": model}, asked)
    (found,) = run.result("sks woman").sets.values()
    assert found.linearity.value is None and found.monotone.value == 1.0
    # Without base and other people nobody knows what a stranger would reach.
    assert found.points[-1].done.value is None and found.class_kept.value is None
    assert run.baseline() == "" and not run.scored(run.sets()).deltas


def test_an_emotion_that_a_judge_does_not_know_has_no_probability():
    logits = np.zeros((2, 8))
    logits[:, 7] = -1e4
    found = probability_of(logits, np.array([0, 7]))
    assert found[0] == pytest.approx(1 / 7) and np.isnan(found[1])


# ---- A run ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def album(
    evaluated_once: Workspace, face, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """Photos of two people, a package without embeddings that is the base, two noises."""
    root = tmp_path_factory.mktemp("album")
    workspace = with_settings(
        Workspace(root / "work", evaluated_once.config),
        evaluate={
            "identity": "tiny-identity", "person": "sks woman", "person_class": "woman",
            "person_noises": 2, "person_strengths": (1.0,), "bootstrap": 40, "batch_size": 32,
        },
        sampling={"steps": 1, "batch_size": 32},
    )  # fmt: skip
    write_albums(workspace, face)
    package = shutil.copytree(tiny_base, workspace.packaged / "anna")
    record = {"packaged_at": "2024-01-01T00:00:01"}
    (package / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    return with_settings(workspace, data={"person": "anna"})


def write_albums(workspace: Workspace, face) -> None:
    """Of Anna three photos in each split, of Berta one."""
    photo, points, around = face
    rows, crops = [], {}
    for split in ("val300", "train"):
        for place in range(4):
            key = f"{'anna' if place else 'berta'}/{split}-{place}"
            light = 0.7 + 0.1 * place
            crops[key] = (crop(photo, around, CROP_PX) * light).round().astype(np.uint8)
            rows.append(
                {
                    "key": key,
                    "split": split,
                    "landmarks": points.flatten().tolist(),
                    "crop_x": around.center_x,
                    "crop_y": around.center_y,
                    "crop_side": around.side,
                    "caption": "photo of sks woman",
                    "emotion": None,
                    "valence": None,
                    "arousal": None,
                }
            )
    write_corpus(workspace, rows, CROP_PX, crops)


def test_an_album_is_one_persons_and_its_held_out_photos_are_never_learnt(album: Workspace):
    corpus = Corpus.open(with_settings(album, data={"person": None}))
    found = album_of(corpus, "val300", "anna")
    assert found.held == ["anna/val300-1", "anna/val300-2", "anna/val300-3"]
    assert len(found.learnt) == 3 and not set(found.learnt) & set(found.held)
    assert found.others == ["berta/train-0", "berta/val300-0"]
    with pytest.raises(UserError, match="albums of anna, berta"):
        album_of(corpus, "val300", None)
    with pytest.raises(UserError, match="data.person carla"):
        album_of(corpus, "val300", "carla")


@pytest.fixture(scope="module")
def drawn(album: Workspace) -> EvaluationSummary:
    return evaluate_personal(album)


@pytest.mark.slow
def test_a_package_is_drawn_beside_its_base_and_read(album: Workspace, drawn: EvaluationSummary):
    listed = pd.read_csv(drawn.folder / "commands.csv").set_index("name")
    assert len(listed) == 2 * (8 + 8)
    assert list(drawn.scores) == ["base", "person_1", "class"]
    text, base = (
        next((album.generated / "protocols").glob(f"personal-{variant}-*"))
        for variant in ("text", "base")
    )
    assert len(list(text.rglob("*.png"))) == 32 and len(list(base.rglob("*.png"))) == 16
    record = read_record(text / "person" / "000" / "happy-1.png")
    assert (
        record["prompt"] == "photo of sks woman, happy" == listed.loc["person/000/happy-1"].prompt
    )
    assert drawn.scores["person_1"]["top1"].n == 16
    assert drawn.personal is not None and drawn.personal.photos == 3
    assert drawn.personal.different_are == "photos of other people"
    page = drawn.report.read_text(encoding="utf-8")
    assert 'id="personal"' in page and "plot-identity_expression" in page
    assert (drawn.folder / "plots" / "strength.png").is_file()
    table = pd.read_csv(drawn.folder / "per_image.csv")
    assert table["model"].value_counts().to_dict() == {"package": 32, "base": 16}
    again = evaluate_personal(album)  # drawn and read before
    assert again.scores == drawn.scores and again.personal == drawn.personal


@pytest.mark.slow
@pytest.mark.usefixtures("without_plots")
def test_real_photos_in_place_of_pictures_are_the_person(
    album: Workspace, drawn: EvaluationSummary, tmp_path: Path
):
    corpus = Corpus.open(album)
    for number, name in enumerate(pd.read_csv(drawn.folder / "commands.csv")["name"]):
        target = tmp_path / "theirs" / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        key = album_of(corpus, "val300", "anna").learnt[number % 3]
        levels = ((corpus.image(key, 64) + 1) * 127.5).byte().permute(1, 2, 0).numpy()
        Image.fromarray(levels).save(target)
    found = evaluate_personal(album, images={"theirs": tmp_path / "theirs"})
    assert list(found.scores) == ["theirs_1", "theirs_class"]
    identity = next(name for name in found.metrics if name.startswith("identity"))
    assert found.scores["theirs_1"][identity].value > 0.8
    assert found.baselines[identity].keys() == {"same person", "different people"}


def test_mistakes_are_told_before_anything_is_drawn(
    album: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "draw_records", lambda *_: pytest.fail("drawn"))
    with pytest.raises(UserError, match="evaluate.identity.*asks who it is"):
        evaluate_personal(with_settings(album, evaluate={"identity": "none"}))
    with pytest.raises(UserError, match="no person is named"):
        evaluate_personal(with_settings(album, evaluate={"person": ""}))
    loss = {"identity": 0.1}
    with pytest.raises(UserError, match="evaluate.identity: tiny-identity.*holds the weights"):
        evaluate_personal(with_settings(album, loss=loss))


def test_change_is_told_where_faces_move_and_elsewhere(album: Workspace):
    """A probe beside a picture that is grey but for its mouth."""
    corpus = Corpus.open(album)
    key = corpus.rows["key"][0]
    points = corpus.points(key)[None]
    before = torch.zeros(2, 3, 64, 64)
    after = before.clone()
    x, y = (points[0, 48:68].mean(dim=0) * 64).round().int().tolist()
    after[0, :, y - 1 : y + 2, x - 1 : x + 2] = 1.0
    seen = SimpleNamespace(
        images=after,
        photos=before,
        landmarks=points.repeat(2, 1, 1) * 64,
        searched=lambda: [SimpleNamespace(face=1), SimpleNamespace(face=None)],
    )
    found = ChangeProbe("", "dlib").read(seen)
    assert found["inside"][0] > 5 * found["outside"][0]
    assert np.isnan(found["inside"][1]) and np.isnan(found["outside"][1])


@pytest.mark.slow
@pytest.mark.usefixtures("without_plots")
def test_a_package_with_embeddings_is_told_strengths_and_its_base_words(
    album: Workspace, drawn: EvaluationSummary, tiny_base: Path
):
    package = shutil.copytree(tiny_base, album.packaged / "told")
    made = begin_expressions(Encoders(tiny_base), read_configs(tiny_base), EMOTIONS)
    torch.manual_seed(0)
    with torch.no_grad():
        made.states.add_(torch.randn_like(made.states))
    made.save_pretrained(package / "expressions")
    more = with_settings(album, evaluate={"person_strengths": (0.5,)})
    found = evaluate_personal(more, package=package, name="told")
    assert list(found.scores) == ["base", "person_0.5", "person_1", "class"]
    (folder,) = (album.generated / "protocols").glob("personal-guided-*")
    half, whole, rest = (
        read_record(folder / "person" / "000" / f"{name}.png")
        for name in ("happy-0.5", "happy-1", "neutral")
    )
    assert half["prompt"] == whole["prompt"] == rest["prompt"] == "photo of sks woman"
    assert half["expressions"] == {"happy": 0.5} and half["seed"] == rest["seed"]
    pictures = {
        name: (folder / "person" / "000" / f"{name}.png").read_bytes()
        for name in ("happy-0.5", "happy-1", "neutral")
    }
    assert len(set(pictures.values())) == 3  # the strength acts
    assert not list((album.generated / "protocols").glob("personal-base-*/person"))
    partly = shutil.copytree(package, album.packaged / "partly")
    begin_expressions(
        Encoders(tiny_base), read_configs(tiny_base), ("neutral", "happy")
    ).save_pretrained(partly / "expressions")
    with pytest.raises(UserError, match="its expressions/ lack sad"):
        evaluate_personal(more, package=partly)


def test_only_the_person_is_fused():
    settings = SimpleNamespace(sha256="ab", seed=1)
    anyone = ClassPrompts("sks", "woman")
    for embedded, shown in ((True, "photo of a woman"), (False, "photo of a woman, happy")):
        asked = {one.name: one for one in commands(embedded=embedded)}
        happy, other = asked["person/000/happy-1"], asked["class/000/happy"]
        assert record_of(happy, settings, anyone)["fusion_prompt"] == shown
        assert "fusion_prompt" not in record_of(other, settings, anyone)
        assert "fusion_prompt" not in record_of(happy, settings)


@pytest.mark.slow
@pytest.mark.usefixtures("without_plots")
def test_a_package_that_fuses_is_drawn_so(
    album: Workspace, drawn: EvaluationSummary, tiny_base: Path
):
    package = shutil.copytree(tiny_base, album.packaged / "fuses")
    (package / "train_config.yaml").write_text("captions: {token: sks, class_word: woman}")
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet")
    ExpressionFusion.beside(unet, gate=8.0).save_pretrained(package / "fusion")
    found = evaluate_personal(album, package=package, name="fuses")
    assert list(found.scores) == ["base", "person_1", "class"]
    happy = [
        path
        for path in (album.generated / "protocols").glob("personal-guided-*/person/000/happy-1.png")
        if "fusion_prompt" in read_record(path)
    ]
    assert len(happy) == 1
    assert read_record(happy[0])["fusion_prompt"] == "photo of a woman, happy"
