"""The physical protocol: what it asks for, what it makes of readings, and a run from end to end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from sfe_cli.evaluate import show_scores, show_told
from sfe_core.assets.needs import needed_assets
from sfe_core.config.loading import load_workspace
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.evaluation import physical_drawing
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.instruments.edit_probes import NoiseProbe
from sfe_core.evaluation.instruments.probes import Instrument
from sfe_core.evaluation.physical_codes import ball_shading
from sfe_core.evaluation.physical_commands import (
    CHANGED,
    MODES,
    PARTS,
    PhysicalCommand,
    chosen_photos,
    of_mode,
    physical_commands,
)
from sfe_core.evaluation.physical_faces import AskedFaces, PhysicalFaces
from sfe_core.evaluation.physical_protocol import evaluate_physical
from sfe_core.evaluation.physical_reading import looks_again
from sfe_core.evaluation.physical_scoring import PhysicalCourse, part_error
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.summary import EditsOfMode, EvaluationSummary
from sfe_core.faces.reconstruction import HeadChange
from sfe_core.sampling.pngs import read_record
from sfe_core.synthesis.photos import synthesize_albums
from tests.sfe_core.sampling.editing.rigged import make_rigged

KEYS = [f"{place}/{number}" for place in "abcdefgh" for number in range(2)]
WIDTHS = {"expression": 12, "pose": 3, "light": 27, "shape": 6}
EMBEDDER = "identity_eye"


# ---- What is asked for ---------------------------------------------------------------------------


def test_edits_by_all_take_what_those_by_one_take():
    commands = physical_commands(KEYS, 3, seed=1)
    assert len(commands) == len(KEYS) * (1 + 4 * 3)
    for part in CHANGED:
        for one, every in zip(of_mode(commands, part), of_mode(commands, "all"), strict=True):
            assert (one.key, one.number) == (every.key, every.number)
            assert dict(one.donors) == {part: every.donors[part]}
            assert one.key not in every.donors.values()
    own = of_mode(commands, "own")
    assert [one.key for one in own] == KEYS and not any(one.donors for one in own)
    assert len({one.name for one in commands}) == len(commands)


def test_donors_are_drawn_by_the_seed_and_none_twice_before_all_have_come():
    first, again, other = (physical_commands(KEYS[:4], 4, seed) for seed in (1, 1, 2))
    assert first == again and first != other
    for key in KEYS[:4]:
        drawn = [one.donors["pose"] for one in of_mode(first, "pose") if one.key == key]
        assert len(set(drawn[:3])) == 3


def test_one_photo_has_nobody_to_take_from():
    with pytest.raises(UserError, match="holds 1 photo to edit.*hold out two or more"):
        physical_commands(KEYS[:1], 4, 0)


def test_photos_of_all_people_come_before_a_second_of_anybody():
    assert chosen_photos(KEYS, 8) == [key for key in KEYS if key.endswith("/0")]
    assert len(chosen_photos(KEYS, 9)) == 9 and chosen_photos(["1", "2", "3"], 2) == ["1", "2"]


def test_a_reconstruction_that_did_not_edit_looks_again_where_one_is_asked_for_or_there():
    assert looks_again(Config()) == "anny"  # no other is there
    other = {"evaluate": {"reconstruction": "deca"}}
    assert looks_again(Config.model_validate(other)) == "deca"
    assert "deca" in {
        asset.name for asset in needed_assets(Config.model_validate(other))["evaluate"]
    }
    theirs = {"preprocess": {"reconstruction": "emoca"}}
    assert looks_again(Config.model_validate(theirs)) == "anny"


# ---- What is made of readings --------------------------------------------------------------------


def codes(seed: int) -> dict[str, np.ndarray]:
    """A face; means of codes differ a lot, so that only a correlation without them is near 0."""
    random = np.random.default_rng(seed)
    return {
        part: 10.0 * np.arange(width)
        + (20.0 if part == "pose" else 1.0) * random.normal(size=width)
        for part, width in WIDTHS.items()
    }


FACES = {key: codes(place) for place, key in enumerate(KEYS)}


def asked_of(commands: list[PhysicalCommand]) -> AskedFaces:
    asked = {p: np.stack([FACES[one.donor(p)][p] for one in commands]) for p in PARTS}
    before = {p: np.stack([FACES[one.key][p] for one in commands]) for p in PARTS}
    return AskedFaces(asked, before, {})


def readings(names: list[str], found: dict[str, np.ndarray], cosine: float) -> Readings:
    count = len(names)
    vectors = np.tile([cosine, (1 - cosine**2) ** 0.5], (count, 1))
    columns = {
        "refit": found,
        "detector": {"detected": np.ones(count)},
        EMBEDDER: {"embedding": vectors},
        "near": {"distance": np.full(count, 0.2)},
        "outside": {"difference": np.full(count, 3.0), "distance": np.full(count, 0.1)},
        "noise": {"level": np.full(count, 2.0), "noisy": np.zeros(count)},
    }
    return Readings(np.array(names), np.full(count, ""), columns, ())


def course(follows: float, further_off: float = 1.0, independent: bool = False) -> PhysicalCourse:
    """A rig that goes `follows` of the asked change; in edits by all its noise is larger."""
    commands = physical_commands(KEYS, 3, seed=1)
    asked, random = asked_of(commands), np.random.default_rng(5)
    spread = np.array([0.2 * (further_off if one.mode == "all" else 1.0) for one in commands])
    found = {
        part: asked.before[part]
        + follows * (asked.asked[part] - asked.before[part])
        + spread[:, None] * random.normal(size=asked.asked[part].shape)
        for part in PARTS
    }
    tools = {
        name: Instrument(name, "", "", kind)
        for name, kind in (("detector", "detector"), (EMBEDDER, "identity"), ("near", "perceptual"))
    }
    config = Config.model_validate({"evaluate": {"bootstrap": 60}})
    faces = SimpleNamespace(name="detector")
    meter = SimpleNamespace(instruments=tools, perceptual="near", faces=faces)
    bench = SimpleNamespace(meter=meter, workspace=SimpleNamespace(config=config))
    photos = readings(KEYS, {p: np.stack([FACES[key][p] for key in KEYS]) for p in PARTS}, 1.0)
    drawn = readings([one.name for one in commands], found, 0.9)
    return PhysicalCourse(bench, commands, photos, asked, independent, EMBEDDER, {"": drawn})


def modes(found: PhysicalCourse) -> dict[str, EditsOfMode]:
    return {one.mode: one for one in found.results()["package"].modes}


def part_of(edits: EditsOfMode, part: str):
    return next(one for one in edits.parts if one.part == part)


@pytest.mark.parametrize("independent", [False, True])
def test_edits_that_show_what_was_asked_correlate_and_go_all_the_way(independent: bool):
    found = modes(course(1.0, independent=independent))
    assert list(found) == list(MODES)
    for part in CHANGED:
        for mode in (part, "all"):
            one = part_of(found[mode], part)
            assert one.asked and one.correlation.value > 0.95
            assert one.reach.value == pytest.approx(1.0, abs=0.05)
            assert one.error.value < 0.3 * one.change.value
            assert one.error.n == len(KEYS) * 3 and one.error.low < one.error.value
    kept = part_of(found["pose"], "expression")
    assert not kept.asked and kept.correlation.value > 0.95 and kept.reach.value is None


def test_edits_that_ignore_what_was_asked_do_not_correlate():
    found = modes(course(0.0))
    for part in CHANGED:
        one = part_of(found[part], part)
        assert abs(one.correlation.value) < 0.2
        assert one.reach.value == pytest.approx(0.0, abs=0.05)
        assert one.error.value == pytest.approx(one.change.value, rel=0.1)
        assert part_of(found["own"], part).correlation.value > 0.95


def test_edits_by_all_are_held_against_those_by_one():
    even, worse = (course(1.0, further).results()["package"].combined for further in (1.0, 1.6))
    for part in CHANGED:
        assert even[part].value == pytest.approx(1.0, abs=0.1)
        assert worse[part].value == pytest.approx(1.6, abs=0.15)
    reach = course(1.0).results()["package"].combined_reach
    assert [reach[part].value for part in CHANGED] == pytest.approx([1.0] * 3, abs=0.05)


def test_identity_is_told_beside_that_of_the_photo_drawn_back():
    run = course(1.0)
    found = modes(run)["all"]
    assert found.identity.value == pytest.approx(0.9) and found.identity_kept.value == 0.0
    metrics, scores = run.scored()
    assert set(metrics) == {"identity_eye", "face_found"}
    assert scores["all"]["identity_eye"].value == pytest.approx(0.9)
    assert run.results()["real"].modes[0].parts[0].error.value == 0.0


def test_angles_are_compared_the_short_way_round():
    found = part_error("pose", np.array([[179.0, 0.0, 0.0]]), np.array([[-179.0, 0.0, 4.0]]))
    assert found == pytest.approx([2.0])
    assert part_error("light", np.zeros((1, 4)), np.full((1, 4), 2.0)) == pytest.approx([200.0])


def test_noise_is_told_of_the_picture_against_its_photo():
    smooth = torch.zeros(2, 3, 32, 32)
    noisy = smooth.clone()
    noisy[1] += 0.5 * torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1))
    levels = ((noisy.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    found = NoiseProbe("").read(SimpleNamespace(photos=smooth, levels=levels))
    assert found["noisy"].tolist() == [0.0, 1.0] and found["level"][1] > 10


# ---- A run ---------------------------------------------------------------------------------------

SIDE = 128


class PastingRig:
    """Draws the shaded head over its photo, as a perfect rig would; or nothing but its photo."""

    device = torch.device("cpu")
    rig = torch.nn.Identity()
    ignores = False

    def to(self, **_: object) -> PastingRig:
        return self

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures.flatten(1)

    def __call__(self, buffers: torch.Tensor, codes: torch.Tensor, **_: object) -> torch.Tensor:
        photo = codes.reshape(len(codes), 3, *buffers.shape[2:])
        if self.ignores:
            return photo
        hit = (buffers[:, 3:6] != 0).any(dim=1, keepdim=True)
        return torch.where(hit, 2 * buffers[:, :3] - 1, photo).clamp(-1, 1)


@pytest.fixture(scope="module")
def albums(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Four people, half of their photos held out; the package's weights are never used."""
    root = tmp_path_factory.mktemp("physical")
    make_rigged(root)
    settings = yaml.safe_load((root / "sfe.yaml").read_text())
    settings["preprocess"]["crop_size"] = settings["model"]["resolution"] = SIDE
    settings["split"] = {"validation_fraction": 0.5, "by": "photos"}
    settings["evaluate"] = {"bootstrap": 40, "edits_per_photo": 2, "witnesses": []}
    (root / "sfe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    emotions = ("neutral", "happy", "surprise", "anger")
    synthesize_albums(root, (5, 9, 21, 40), 4, emotions, size_px=160)
    preprocess(load_workspace(root))
    return load_workspace(root)


def run_of(albums: Workspace, rig: PastingRig, name: str) -> EvaluationSummary:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(physical_drawing, "load_rig_pipeline", lambda *_: rig)
        patch.setattr(
            "sfe_core.evaluation.physical_protocol.rig_config", lambda *_: {"image_size": SIDE}
        )
        return evaluate_physical(albums, name=name)


@pytest.fixture(scope="module")
def followed(albums: Workspace) -> EvaluationSummary:
    return run_of(albums, PastingRig(), "follows")


@pytest.mark.slow
def test_a_rig_that_draws_its_buffers_is_found_again_as_asked(
    albums: Workspace, followed: EvaluationSummary
):
    assert followed.physical is not None and not followed.physical.independent
    found = {one.mode: one for one in followed.physical.sets["package"].modes}
    assert part_of(found["pose"], "pose").correlation.value > 0.9
    assert part_of(found["light"], "light").correlation.value > 0.6
    # The bare head has no brows to find: less of the expression comes back than of a photo's.
    assert part_of(found["expression"], "expression").correlation.value > 0.5
    assert part_of(found["all"], "pose").reach.value == pytest.approx(1.0, abs=0.25)
    photo = followed.physical.sets["real"].modes[0]
    assert part_of(photo, "expression").correlation.value > 0.8
    assert found["own"].outside.value < 1.0 and found["all"].outside.value < 1.0
    assert any("made the edits" in note for note in followed.notes)
    page = followed.report.read_text(encoding="utf-8")
    assert 'id="physical"' in page and "plot-asked_found_pose" in page
    assert (followed.folder / "sheet.png").is_file()
    table = pd.read_csv(followed.folder / "per_image.csv")
    assert set(table["mode"]) == set(MODES)
    with np.load(followed.folder / "codes.npz") as stored:
        assert stored["package/all/pose/found"].shape[1] == 3
    (folder,) = (albums.generated / "protocols").glob("physical-*")
    first = folder / f"{table['key'][1]}.png"
    record = read_record(first)
    assert record is not None and record["edit"]["strength"] == 1.0
    assert (folder / "buffers" / f"{table['key'][1]}.png").is_file()


@pytest.mark.slow
def test_what_a_photo_exactly_shows_is_asked_where_that_is_known(albums: Workspace):
    corpus = Corpus.open(albums)
    key, donor = corpus.rows["key"][:2]
    light = np.zeros((9, 3))
    light[0], light[1] = 3.0, 1.0  # from the right
    exact = {donor: HeadChange(angles=(25.0, -5.0, 2.0), light=light)}
    settings = albums.config.preprocess
    fitted, known = (PhysicalFaces(corpus, settings, SIDE, None, one) for one in (None, exact))
    command = PhysicalCommand(f"{key}/00-pose", key, "pose", 0, {"pose": donor})
    assert known.asked([command]).asked["pose"][0] == pytest.approx(exact[donor].angles, abs=1e-3)
    assert fitted.asked([command]).asked["pose"][0] != pytest.approx(exact[donor].angles, abs=1e-3)
    assert (fitted.exact_sha256(command) is None) and known.exact_sha256(command) is not None
    lit = PhysicalCommand(f"{key}/00-light", key, "light", 0, {"light": donor})
    found = known.asked([lit]).asked["light"][0]
    np.testing.assert_allclose(found, ball_shading(light), atol=1e-3)


@pytest.mark.slow
def test_a_rig_that_ignores_its_buffers_shows_nothing_that_was_asked(
    albums: Workspace, followed: EvaluationSummary
):
    """Its photos take the place of drawn pictures, as a folder made elsewhere."""
    names = pd.read_csv(followed.folder / "commands.csv")[["name", "key"]]
    corpus, theirs = Corpus.open(albums), albums.root / "theirs"
    for name, key in names.itertuples(index=False):
        target = theirs / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        corpus.picture("inputs", key).save(target)
    summary = evaluate_physical(albums, images={"theirs": theirs})
    assert summary.physical is not None
    found = {one.mode: one for one in summary.physical.sets["theirs"].modes}
    for part in CHANGED:
        one = part_of(found[part], part)
        assert one.correlation.value < 0.35 and abs(one.reach.value) < 0.2
    assert found["all"].identity.value == pytest.approx(1.0, abs=1e-3)
    assert found["all"].outside.value == pytest.approx(0.0, abs=0.5)


@pytest.mark.slow
def test_what_was_drawn_and_read_is_not_drawn_and_read_again(
    albums: Workspace, followed: EvaluationSummary
):
    class Broken(PastingRig):
        def encode(self, pictures: torch.Tensor) -> torch.Tensor:
            raise AssertionError("drawn again")

    again = run_of(albums, Broken(), "follows")
    assert again.physical == followed.physical and again.scores == followed.scores


@pytest.mark.slow
def test_the_command_shows_edits_by_part_and_by_mode(
    followed: EvaluationSummary, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "240")
    show_scores(followed.table)
    show_told(followed)
    shown = capsys.readouterr().out
    assert "Face found" in shown and "all three: pose (degrees)" in shown
    assert "unedited, drawn back" in shown and "Correlation, r" in shown


def test_mistakes_are_told_before_anything_is_drawn(tmp_path: Path):
    workspace = make_rigged(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UserError, match="holds no network of recipe physical"):
        evaluate_physical(workspace, package=other)
    with pytest.raises(UserError, match="--package.*does not exist"):
        evaluate_physical(workspace, package=tmp_path / "none")
    with pytest.raises(UserError, match="rigged: draws edits, not captions; add .--protocol phys"):
        evaluate(workspace)
