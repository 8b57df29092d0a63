"""The personal recipe: albums and tokens it refuses, class pictures, what trains, the package."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from sfe_core.config.workspace import Workspace
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.corpus.views import View
from sfe_core.diffusion.base_expressions import begin_expressions
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_embeddings import ExpressionEmbeddings, ExpressiveUNet
from sfe_core.diffusion.loading import read_configs
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.packaging.listing import expressions as known_expressions
from sfe_core.packaging.listing import of_package
from sfe_core.packaging.package import package_checkpoint
from sfe_core.recipes.personal import (
    SPEC,
    Origin,
    Personal,
    PersonalSlot,
    by_origin,
    image_factors,
    kind_of,
    share_out,
)
from sfe_core.recipes.personal_tokens import is_ordinary
from sfe_core.recipes.shared.asked import Asked
from sfe_core.recipes.shared.class_pictures import ClassPictures
from sfe_core.recipes.shared.draws import Slot
from sfe_core.recipes.shared.samples import SampleMeter
from sfe_core.reporting import Reporter
from sfe_core.runs.start import plan_training, train
from sfe_core.sampling.generate import generate
from sfe_core.sampling.sweep import Request
from sfe_core.training.options import TrainOptions
from tests.corpora import write_corpus
from tests.tiny import make_tiny_tokenizer, make_tiny_workspace
from tests.tiny_runs import NOISE_ALONE, built, step

TOKEN = "qxz"


def album_workspace(
    root: Path, base: Path, options: dict | None = None, people: tuple[str, ...] = ("",), **sections
) -> Workspace:
    """Six random photos of each person, one of them held out, all captioned with the token."""
    settings = {
        "loss": dict(NOISE_ALONE),
        "guidance": {"maps": ()},
        "captions": {"token": TOKEN, "class_word": "woman"},
        "split": {"by": "photos"},
        "sampling": {"steps": 2, "batch_size": 8},
        "preprocess": {"caption_template": "photo of {subject}, {emotion}"},
    }
    for name, values in sections.items():
        settings[name] = {**settings.get(name, {}), **values}
    settings["train"] = {"lora_rank": 2, "mixed_precision": "no"} | settings.get("train", {})
    made = make_tiny_workspace(root, base, images=1, **settings)
    rows = [
        {
            "key": f"{person}/{number}" if person else str(number),
            "split": "val300" if number == 2 else "train",
            "caption": f"photo of {TOKEN} woman, {EMOTIONS[number]}",
            "emotion": EMOTIONS[number],
            "landmarks": np.random.default_rng(number).uniform(0, 32, 136).tolist(),
            "crop_side": 32.0,
            "crop_x": 16.0,
            "crop_y": 16.0,
        }
        for person in people
        for number in range(6)
    ]
    write_corpus(made, rows, made.config.preprocess.crop_size)
    chosen = {"prior_pictures": 1, "prior_steps": 2, "prior_faces": False, **(options or {})}
    update = {"recipe": "personal", "recipe_options": chosen}
    return Workspace(root, made.config.model_copy(update=update))


def changed(workspace: Workspace, section: str, **values) -> Workspace:
    part = getattr(workspace.config, section).model_copy(update=values)
    return Workspace(workspace.root, workspace.config.model_copy(update={section: part}))


def build(workspace: Workspace) -> Personal:
    return built(SPEC, workspace, 5, Personal)


@pytest.fixture(scope="module")
def album(tmp_path_factory, tiny_base) -> Workspace:
    """One for all: no test that takes it writes into it but class pictures."""
    return album_workspace(tmp_path_factory.mktemp("album"), tiny_base)


# Refused before long work


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("captions", {"token": ""}, "captions.token: is empty"),
        ("captions", {"token": "woman"}, "'woman' is an ordinary word"),
        ("captions", {"token": "Happy"}, "'Happy' is an ordinary word"),
        ("captions", {"token": "vbw"}, "stands in no caption"),
        ("guidance", {"maps": ("landmarks",)}, "class pictures have no maps"),
        ("data", {"person": "eva"}, "data.person eva: has no photo"),
        ("train", {"lora_modules": ("to_x",)}, "ends in 'to_x'"),
        ("loss", {"alignment": 0.1}, r"loss.alignment: .*no use for it"),
    ],
)
def test_what_does_not_fit_is_one_line(album, section, values, told):
    with pytest.raises(UserError, match=told) as error:
        SPEC.check(changed(album, section, **values))
    assert "\n" not in str(error.value)


def test_an_album_of_one_photo_is_refused(tmp_path, tiny_base):
    made = album_workspace(tmp_path, tiny_base)
    write_corpus(made, [{"key": "0", "split": "train", "caption": TOKEN}], 32)
    with pytest.raises(UserError, match="the album: has 1 usable photos, 0 of them held out"):
        SPEC.check(made)


def test_of_several_albums_one_must_be_named(tmp_path, tiny_base):
    made = album_workspace(tmp_path, tiny_base, people=("anna", "ben"))
    with pytest.raises(UserError, match=r"albums of anna, ben; .*sfe train --person anna"):
        SPEC.check(made)
    with pytest.raises(UserError, match=r"eva: .*photos/ has albums of: anna, ben"):
        SPEC.check(changed(made, "data", person="eva"))
    checked = SPEC.check(changed(made, "data", person="ben"))
    assert checked.images == 5 and checked.told["person"] == "ben"


def test_the_plan_tells_which_expressions_there_are(album):
    told = dict(plan_training(album, TrainOptions(cpu_processes=1)).told)
    assert told["token"] == f"{TOKEN} woman"
    counts = told["photos per expression"]
    assert counts[EMOTIONS[0]] == 1 and counts[EMOTIONS[2]] == 0 and counts[EMOTIONS[7]] == 0


def test_words_that_a_tokenizer_has_whole_are_ordinary():
    tokenizer = make_tiny_tokenizer()
    assert not is_ordinary("woman", tokenizer)  # it spells
    tokenizer.add_tokens(["woman"])
    assert is_ordinary("woman", tokenizer) and not is_ordinary("v", tokenizer)


def test_sdxl_learns_no_embeddings(tmp_path, tiny_sdxl):
    made = album_workspace(tmp_path, tiny_sdxl, {"new_embeddings": True}, model={"resolution": 64})
    with pytest.raises(UserError, match="new_embeddings.*2 text encoders"):
        SPEC.check(made)


# The prior


@pytest.mark.parametrize("sizes", [(4, 4, 4), (1, 1, 1, 1), (3, 5, 2)])
def test_every_second_image_is_a_class_picture_wherever_updates_begin(sizes):
    first, own, of_class = 0, [], []
    for size in sizes:
        album, pictures = share_out(first, size, 2)
        own += album
        of_class += pictures
        first += size
    assert own == list(range((first + 1) // 2)) and of_class == list(range(first // 2))


def slots(*origins: Origin) -> list[PersonalSlot]:
    faces = [Slot(View(n), 5, False, False, False, n) for n in range(len(origins))]
    return [PersonalSlot(face, origin) for face, origin in zip(faces, origins, strict=True)]


def test_the_prior_is_weighted_as_a_mean_of_its_own():
    update = slots("album", "class", "album", "album", "album", "crafted")
    update[4] = replace(update[4], asked=Asked(3))
    factors = image_factors(update, {"class": 0.5, "crafted": 1.0})
    losses = [1.0, 10.0, 2.0, 6.0, 99.0, 7.0]
    weighed = sum(np.multiply(losses, [factors[kind_of(slot)] for slot in update]))
    assert weighed / 6 == pytest.approx((1 + 2 + 6) / 3 + 0.5 * 10 + 7)
    assert [s.face.index for s in by_origin(update)] == [0, 2, 3, 4, 1, 5]


def test_class_pictures_are_balanced_and_drawn_once(album):
    recipe = build(album)
    (folder,) = (album.root / "class_pictures").iterdir()
    pictures = sorted(folder.glob("inputs/*/*.png"))
    assert [path.parent.name for path in pictures] == sorted(EMOTIONS)
    before = {path: path.stat().st_mtime_ns for path in pictures}
    assert set(recipe.drawn["class"].dataset.captions) == {
        f"photo of a woman, {name}" for name in EMOTIONS
    }
    pictures[3].unlink()  # as if the run had been cut short there
    build(album)
    after = {path: path.stat().st_mtime_ns for path in pictures}
    assert {path for path in pictures if after[path] != before[path]} == {pictures[3]}


def test_another_base_draws_its_own(album):
    def of(base: str, word: str = "woman") -> ClassPictures:
        return ClassPictures(album, word, 1, 2, False, base)

    assert of("a").folder != of("b").folder and of("a").folder != of("a", "man").folder
    more = ClassPictures(album, "woman", 2, 2, False, "a")
    assert more.folder == of("a").folder and more.keys.keys() > of("a").keys.keys()


def test_no_face_in_any_is_told(tmp_path, tiny_base):
    pytest.importorskip("dlib")
    made = album_workspace(tmp_path, tiny_base, {"prior_faces": True})
    with pytest.raises(UserError, match="of 8 class pictures .* none shows a face"):
        build(made)


def test_both_halves_teach_and_a_weight_of_0_draws_none(album, tmp_path, tiny_base):
    recipe = build(album)
    draws, total = step(recipe)
    assert sum(slot.origin == "class" for slot in draws) == 4
    recipe.drawn = {"class": replace(recipe.drawn["class"], weight=0.0)}
    _, without = step(recipe)
    assert float(total.detach()) > float(without.detach()) > 0
    alone = album_workspace(tmp_path, tiny_base, {"prior_weight": 0.0})
    assert not build(alone).drawn and not (tmp_path / "class_pictures").exists()


# What trains


@pytest.mark.parametrize(
    ("options", "sections", "trained"),
    [
        ({}, {}, ["unet"]),
        ({}, {"train": {"lora_rank": 0}}, ["unet"]),
        ({}, {"train": {"lora_dora": True}}, ["unet"]),
        ({}, {"train": {"text_encoder": True, "text_encoder_lora_rank": 2}}, ["unet", "text"]),
        ({"new_embeddings": True}, {}, ["unet", "text"]),
    ],
)
def test_gradients_reach_what_trains_and_nothing_frozen(
    tmp_path, tiny_base, options, sections, trained
):
    recipe = build(album_workspace(tmp_path, tiny_base, options, **sections))
    assert [network.group for network in recipe.networks] == trained
    step(recipe)[1].backward()
    for network in recipe.networks:
        own = dict(network.of(recipe.model).named_parameters())
        live = {name for name, p in own.items() if p.grad is not None and p.grad.any()}
        assert live and all(own[name].requires_grad for name in live)
    if options:
        table = recipe.model.text_encoder.get_input_embeddings()
        assert table.rows.grad.any() and table.table.weight.grad is None


# Expressions as embeddings


@pytest.fixture(scope="module")
def expressions(tmp_path_factory, tiny_base) -> Path:
    """The base's own words for them, in place of what would be learnt."""
    folder = tmp_path_factory.mktemp("expressions")
    begin_expressions(Encoders(tiny_base), read_configs(tiny_base)).save_pretrained(folder)
    return folder


def test_expressions_are_told_in_place_of_words_and_stay_as_they_are(
    tmp_path, tiny_base, expressions
):
    options = {"expressions": str(expressions), "prior_pictures": 1}
    recipe = build(album_workspace(tmp_path, tiny_base, options))
    assert isinstance(recipe.model, ExpressiveUNet) and recipe.drawn
    assert set(recipe.drawn["class"].dataset.captions) == {"photo of a woman"}
    assert set(recipe.face.dataset.captions) == {f"photo of {TOKEN} woman"}
    draws = by_origin(recipe.draw(0, 0, 16))
    told = recipe.told(draws)
    for slot, weights in zip(draws, told, strict=True):
        dataset = recipe.drawn["class"].dataset if slot.origin == "class" else recipe.face.dataset
        place = 0 if slot.face.drop_caption else int(dataset.emotions[slot.face.index])
        assert weights.tolist() == [float(number == place) for number in range(len(EMOTIONS))]
    step(recipe)[1].backward()
    assert all(p.grad is None for p in recipe.model.expressions.parameters())
    assert any(p.grad is not None and p.grad.any() for p in recipe.model.unet.parameters())


CRAFTED = {
    **NOISE_ALONE,
    "noise": 0.0,
    "crafting_expression": 1.0,
    "emotion_network": "tiny-emotion-loss",
    "pixel_decoder": "vae",
    "pixel_fraction": 1.0,
}


def test_what_is_asked_steers_the_person_and_nothing_frozen(tmp_path, tiny_base, expressions):
    options = {"expressions": str(expressions), "crafting_share": 1.0}
    made = album_workspace(
        tmp_path, tiny_base, options, loss=CRAFTED, train={"caption_dropout": 0.0}
    )
    recipe = build(made)
    draws = recipe.draw(0, 0, 8)
    album = [slot for slot in draws if slot.origin == "album"]
    assert album and all(slot.asked is not None for slot in album)
    assert all(slot.asked is None for slot in draws if slot.origin == "class")
    for slot, weights in zip(album, recipe.told(album), strict=True):
        assert slot.asked.place != int(recipe.face.dataset.emotions[slot.face.index])
        assert weights[slot.asked.place] == pytest.approx(slot.asked.strength)
        assert weights.sum() == pytest.approx(slot.asked.strength)
    _, total = step(recipe)
    total.backward()
    live = {
        name for name, p in recipe.model.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert live and all(".lora_" in name for name in live)


def test_asking_without_embeddings_is_refused(album):
    with pytest.raises(UserError, match="crafting_expression.*recipe_options.expressions"):
        SPEC.check(changed(album, "loss", crafting_expression=0.1))


def test_identity_is_held_to_the_whole_album(tmp_path, tiny_base):
    loss = {**NOISE_ALONE, "noise": 0.0, "identity": 1.0, "pixel_decoder": "vae"}
    recipe = build(album_workspace(tmp_path, tiny_base, loss=loss))
    person = recipe.face.objective.person
    assert person.shape == (128,) and person.norm() == pytest.approx(1.0, abs=1e-5)
    embedder = recipe.face.objective.composite.embedder
    own = [
        torch.nn.functional.normalize(embedder(recipe.face.corpus.image(key, 32)[None]), dim=1)
        for key in recipe.face.dataset.keys
    ]
    mean = torch.cat(own).mean(0)
    assert torch.allclose(person, mean / mean.norm(), atol=1e-5)
    step(recipe)[1].backward()
    assert any(p.grad is not None and p.grad.any() for p in recipe.model.unet.parameters())


def test_expressions_of_another_base_are_refused(album, tmp_path):
    ExpressionEmbeddings(width=8).save_pretrained(tmp_path)
    options = {**album.config.recipe_options, "expressions": str(tmp_path)}
    other = album.config.model_copy(update={"recipe_options": options})
    with pytest.raises(UserError, match="recipe_options.expressions.*8 wide"):
        SPEC.check(Workspace(album.root, other))


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [False, True])
def test_a_package_of_a_person_holds_the_expressions(tmp_path, tiny_base, expressions, averaged):
    made = album_workspace(
        tmp_path,
        tiny_base,
        {"expressions": str(expressions)},
        train={"ema_decay": 0.5 if averaged else 0.0, "sample_every": 2},
    )
    train(made, TrainOptions(cpu_processes=1, run="one"), Reporter())
    package = package_checkpoint(made).folder
    assert known_expressions(package) == EMOTIONS
    half = Request(f"photo of {TOKEN} woman", asked=AskedExpression("happy", 0.5))
    one, other = (
        generate(made, replace(half, asked=AskedExpression("happy", strength)))
        for strength in (0.0, 1.5)
    )
    pictures = [np.asarray(Image.open(some.pictures[0])) for some in (one, other)]
    assert not np.array_equal(*pictures)


@pytest.mark.slow
def test_sdxl_learns_an_album(tmp_path, tiny_sdxl):
    recipe = build(album_workspace(tmp_path, tiny_sdxl, model={"resolution": 64}))
    batch = next(iter(recipe.batches([recipe.draw(0, 0, 4)])))
    assert batch.time_ids.shape == (4, 6) and batch.pooled.shape[0] == 4
    step(recipe, count=4)[1].backward()
    assert any(p.grad is not None and p.grad.any() for p in recipe.model.unet.parameters())


# Fusion


FUSED = {"fusion": True}


def fused(root: Path, base: Path, options: dict | None = None, **sections) -> Personal:
    sections = {"train": {"caption_dropout": 0.0}, **sections}
    return build(album_workspace(root, base, FUSED | (options or {}), **sections))


def in_window(recipe: Personal, count: int = 8) -> list[PersonalSlot]:
    """What is drawn, all of it in the middle of fusion's window."""
    return [replace(s, face=replace(s.face, timestep=500)) for s in recipe.draw(0, 0, count)]


def loss_of(recipe: Personal, draws: list[PersonalSlot]):
    batch = next(iter(recipe.batches([draws]))).to(torch.device("cpu"))
    return recipe.loss(recipe.model, batch, draws, draws)


def opened(recipe: Personal, gate: float = 0.5) -> Personal:
    for place in recipe.fusing.fusion.config["skips"]:
        torch.nn.init.constant_(recipe.fusing.fusion.at(place).gate, gate)
    return recipe


def live(module: torch.nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()}


def test_fusion_that_is_closed_learns_by_its_gates_first_and_changes_no_loss(tmp_path, tiny_base):
    recipe = fused(tmp_path / "a", tiny_base)
    assert [network.name for network in recipe.networks] == ["unet", "fusion"]
    draws = in_window(recipe)
    terms = loss_of(recipe, draws)
    without = build(album_workspace(tmp_path / "b", tiny_base, train={"caption_dropout": 0.0}))
    assert torch.equal(terms.total, loss_of(without, draws).total)
    terms.total.backward()
    gates = {name for name in live(recipe.model.fusion) if name.endswith(".gate")}
    assert gates and live(recipe.model.fusion) == gates


@pytest.mark.parametrize("told_as", ["words", "embeddings"])
def test_open_fusion_trains_beside_the_lora_and_nothing_frozen(
    tmp_path, tiny_base, expressions, told_as
):
    options = {"expressions": str(expressions)} if told_as == "embeddings" else {}
    recipe = opened(fused(tmp_path, tiny_base, options))
    loss_of(recipe, in_window(recipe)).total.backward()
    own = set(dict(recipe.model.fusion.named_parameters()))
    assert live(recipe.model.fusion) == own
    rest = live(recipe.model) - {f"fusion.{name}" for name in own}
    assert rest and all(".lora_" in name for name in rest)


@pytest.mark.parametrize("why", ["outside the window", "a class picture", "no caption"])
def test_where_nothing_is_to_be_fused_fusion_learns_nothing(tmp_path, tiny_base, why):
    recipe = opened(fused(tmp_path, tiny_base, loss={"alignment": 1.0}))
    draws = in_window(recipe)
    if why == "a class picture":
        draws = [slot for slot in draws if slot.origin == "class"]
    else:
        told = {"timestep": 20} if why == "outside the window" else {"drop_caption": True}
        draws = [replace(slot, face=replace(slot.face, **told)) for slot in draws]
    terms = loss_of(recipe, draws)
    terms.total.backward()
    assert not live(recipe.model.fusion)
    assert "alignment" not in terms.raw and "alignment" not in recipe.terms(draws)


def test_the_second_pass_reads_the_class_prompt(tmp_path, tiny_base):
    recipe = fused(tmp_path, tiny_base)
    encoders, fusing = Encoders(tiny_base), recipe.fusing
    slots = [slot.face for slot in recipe.draw(0, 0, 8) if slot.origin == "album"]
    told = fusing.conditions([*slots, None], None, (8, 8))
    emotions = [EMOTIONS[int(recipe.face.dataset.emotions[slot.index])] for slot in slots]
    expected = encoders.texts([f"photo of a woman, {name}" for name in emotions]).states
    assert torch.allclose(told.text[:-1], expected, atol=1e-5)
    assert told.mask.shape == (5, 1, 8, 8) and not told.mask[-1].any()
    assert all(float(mask.max()) > 0.3 for mask in told.mask[:-1])


def test_calibration_finds_half_the_entropy_and_leaves_gradients_wanted(tmp_path, tiny_base):
    recipe = fused(tmp_path, tiny_base)
    assert recipe.model.seen == []
    trained = {name for name, p in recipe.model.named_parameters() if p.requires_grad}
    assert any(".lora_" in name for name in trained) and "fusion.fusions.1.gate" not in trained
    temperatures = [
        recipe.fusing.fusion.at(place).log_temperature.item()
        for place in recipe.fusing.fusion.config["skips"]
    ]
    assert all(value != pytest.approx(np.log(24.0), abs=1e-3) for value in temperatures)


def test_alignment_is_served_as_a_mean_over_the_fused(tmp_path, tiny_base):
    loss = {**NOISE_ALONE, "noise": 0.0, "alignment": 2.0}
    made = album_workspace(tmp_path, tiny_base, FUSED, loss=loss, train={"caption_dropout": 0.0})
    SPEC.check(made)
    recipe = opened(build(made))
    draws = in_window(recipe)
    assert recipe.terms(draws) == ("alignment",)
    terms = loss_of(recipe, draws)
    assert (
        float(terms.total) == pytest.approx(2 * float(terms.raw["alignment"])) and terms.total > 0
    )
    halves = [draws[:4], draws[4:]]
    parts = []
    for half in halves:
        batch = next(iter(recipe.batches([half]))).to(torch.device("cpu"))
        parts.append(float(recipe.loss(recipe.model, batch, half, draws).total))
    assert sum(parts) == pytest.approx(float(terms.total), rel=1e-4)
    terms.total.backward()
    assert any(name.endswith("to_q.weight") for name in live(recipe.model.fusion))


@pytest.mark.parametrize("told_as", ["words", "embeddings"])
def test_samples_of_held_out_photos_are_fused(
    tmp_path, tiny_base, expressions, told_as, monkeypatch
):
    options = {"expressions": str(expressions)} if told_as == "embeddings" else {}
    seen, meter = [], SampleMeter.measure

    def measured(self, drawn, corpus):
        seen.append(drawn.text)
        return meter(self, drawn, corpus)

    monkeypatch.setattr(SampleMeter, "measure", measured)
    recipe = fused(tmp_path, tiny_base, options)
    for gate in (0.0, 60.0):
        recipe.samples(opened(recipe, gate).model, lambda: False)
    assert not torch.equal(*seen)
    fusing, recipe.fusing_held = recipe.fusing_held, None
    assert set(fusing.dataset.keys) == {"2"}
    if told_as == "words":
        recipe.samples(recipe.model, lambda: False)
        assert torch.equal(seen[2], seen[0])


@pytest.mark.slow
def test_sdxl_learns_fusion(tmp_path, tiny_sdxl):
    recipe = opened(fused(tmp_path, tiny_sdxl, model={"resolution": 64}))
    loss_of(recipe, in_window(recipe, 4)).total.backward()
    assert live(recipe.model.fusion) == set(dict(recipe.model.fusion.named_parameters()))


@pytest.mark.parametrize("options", [{}, {"new_embeddings": True}])
def test_a_text_encoder_that_trains_reads_the_class_prompt_without_gradient(
    tmp_path, tiny_base, options
):
    train = {"caption_dropout": 0.0, "text_encoder": True, "text_encoder_lora_rank": 2}
    recipe = opened(fused(tmp_path, tiny_base, options, train=train))
    assert not recipe.fusing.prompts.states.is_floating_point()
    loss_of(recipe, in_window(recipe)).total.backward()
    assert live(recipe.model.text_encoder) and live(recipe.model.fusion)


# The road


@pytest.mark.slow
def test_a_package_of_a_person_holds_the_fusion_and_draws_with_it(tmp_path, tiny_base):
    options = {"fusion": True, "fusion_learning_rate": 20.0}  # gates so wide that pictures show it
    made = album_workspace(tmp_path, tiny_base, options, sampling={"steps": 6})
    train(made, TrainOptions(cpu_processes=1, run="one"), Reporter())
    package = package_checkpoint(made).folder
    said = json.loads((package / "provenance.json").read_text())
    assert said["fusion"] is True and "fusion/config.json" in said["files"]
    assert StableDiffusionPipeline.from_pretrained(package).components.keys().isdisjoint({"fusion"})
    request = Request(f"photo of {TOKEN} woman", emotion="happy")
    fused = generate(made, request, package)
    without = generate(changed(made, "sampling", fusion_strength=0.0), request, package)
    shutil.rmtree(package / "fusion")
    never = generate(made, request, package, folder=tmp_path / "never")
    pictures = [np.asarray(Image.open(one.pictures[0])) for one in (never, without, fused)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


@pytest.mark.slow
@pytest.mark.parametrize("pivotal", [False, True])
def test_from_training_to_the_package(tmp_path, tiny_base, pivotal):
    """The folder is one of plain diffusers, its LoRA lies beside in two layouts by itself."""
    sections = {"train": {"text_encoder": True, "text_encoder_lora_rank": 2, "learning_rate": 0.02}}
    made = album_workspace(
        tmp_path, tiny_base, {"new_embeddings": pivotal}, ("anna", "ben"), **sections
    )
    one = changed(made, "data", person="ben")
    whole = train(one, TrainOptions(cpu_processes=1, run="ben"), Reporter())
    package = package_checkpoint(made).folder
    assert {"pytorch_lora_weights.safetensors", "kohya.safetensors"} <= {
        path.name for path in (package / "lora").iterdir()
    }
    pipeline = StableDiffusionPipeline.from_pretrained(package)
    words = len(pipeline.tokenizer(TOKEN, add_special_tokens=False).input_ids)
    assert words == (1 if pivotal else 3)
    tuned, base = (CLIPTextModel.from_pretrained(p / "text_encoder") for p in (package, tiny_base))
    rows = [len(one.get_input_embeddings().weight) for one in (tuned, base)]
    assert rows[0] - rows[1] == int(pivotal)
    if pivotal:
        stored = load_file(package / "lora" / "embeddings" / f"{TOKEN}.safetensors")["emb_params"]
        assert torch.equal(stored[0], tuned.get_input_embeddings().weight[-1].float())
        kept = CLIPTokenizer.from_pretrained(whole.checkpoint / "tokenizer")
        assert TOKEN in kept.get_vocab()
    assert of_package(made, package).config.data.person == "ben"
    sample = np.asarray(Image.open(package / "sample.png"))
    assert sample.std() > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "files"),
    [
        ({"new_embeddings": True}, ("unet_lora", "text_encoder_lora")),
        ({"fusion": True, "fusion_learning_rate": 0.1}, ("unet_lora", "fusion", "fusion_ema")),
    ],
)
def test_a_run_that_was_interrupted_learns_the_same(tmp_path, tiny_base, options, files):
    settings = {"text_encoder_lora_rank": 2} if "new_embeddings" in options else {}
    settings |= {"ema_decay": 0.5} if "fusion_ema" in files else {}
    made = album_workspace(tmp_path, tiny_base, options, train=settings)
    whole = train(made, TrainOptions(cpu_processes=1, run="whole"), Reporter())
    shutil.copytree(whole.run, made.runs / "parts")
    shutil.rmtree(made.runs / "parts" / "checkpoint-4")
    parts = train(made, TrainOptions(cpu_processes=1, resume="parts"), Reporter())
    for name in files:
        found = sorted((whole.checkpoint / name).glob("*.safetensors"))
        assert found
        for file in found:
            expected, actual = (load_file(f) for f in (file, parts.checkpoint / name / file.name))
            assert all(torch.equal(expected[key], actual[key]) for key in expected)
    if "fusion" in files:
        learnt = load_file(whole.checkpoint / "fusion" / "diffusion_pytorch_model.safetensors")
        assert any(learnt[name] for name in learnt if name.endswith(".gate"))
