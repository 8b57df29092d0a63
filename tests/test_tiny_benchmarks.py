"""The benchmarks of the tiny preset: what is held or missed, what goes on, what is tried."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.config.layers import Layer
from sfe_core.config.loading import load_workspace, override_layer, preset_config, resolve
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.pictures import Picture
from sfe_core.evaluation.pool import Pool
from sfe_core.evaluation.resampled import save_resampled
from sfe_core.evaluation.statistics.pooling import Resampled
from sfe_core.evaluation.statistics.resampling import Behind
from sfe_core.evaluation.summary import EvaluationSummary, InstrumentInfo, Resampling, usual_set
from sfe_core.files import write_json
from sfe_core.reporting import Reporter
from sfe_core.training.options import TrainOptions
from tests.benchmarks import search_tiny, tiny_road
from tests.benchmarks.fidelity_measures import measures, rows_table
from tests.benchmarks.picture_rows import picture_rows
from tests.benchmarks.search_candidates import AS_IT_IS, candidates
from tests.benchmarks.search_tiny import (
    Tried,
    better_half,
    chosen_candidates,
    gain,
    write_result,
)
from tests.benchmarks.tiny_road import People, make_workspace, seconds_of, spent, time_told
from tests.sfe_core.evaluation.summaries import make_summary, metric, score

SETS = ("real", "base", "text", "guided")
METRICS = {
    "top1": metric("Top-1"),
    "top1_witness": metric("Top-1 (witness)"),
    "frechet_judge": metric("Fréchet", unit="", better="lower"),
    "landmark_error": metric("Landmarks off", unit="%", better="lower"),
    "valence_ccc": metric("Valence CCC", unit=""),
    "arousal_ccc": metric("Arousal CCC", unit=""),
}
GOOD = {
    "top1": (1.0, 0.15, 0.50, 0.90),
    "top1_witness": (0.80, 0.15, 0.40, 0.60),
    "frechet_judge": (2.0, 20.0, 10.0, 6.0),
    "landmark_error": (1.0, 15.0, 12.0, 4.0),
    "valence_ccc": (0.95, 0.0, 0.5, 0.85),
    "arousal_ccc": (0.95, 0.0, 0.5, 0.85),
}


def summary(folder: Path, values: dict[str, tuple[float, ...]], people: int) -> EvaluationSummary:
    """Of these values, one a set, whose resamples differ by a fiftieth of them."""
    random, behind = np.random.default_rng(0), Behind(people * 8, people, 1 / people, True)
    noise = {name: random.normal(1.0, 0.02, 200) for name in SETS}
    kept = {
        name: {m: Resampled(own[place] * noise[name], behind) for m, own in values.items()}
        for place, name in enumerate(SETS)
    }
    save_resampled(folder, kept)
    tools = {
        "judge": InstrumentInfo(backend="judge", kind="judge", resize=""),
        "witness": InstrumentInfo(backend="witness", kind="witness", resize=""),
        "loss": InstrumentInfo(backend="l", kind="recogniser", resize="", seen_by_loss=True),
        "beside": InstrumentInfo(backend="b", kind="recogniser", resize=""),
    }
    return make_summary(
        folder,
        pictures=people * 8,
        metrics={name: METRICS[name] for name in values},
        instruments=tools,
        sets={name: usual_set(name) for name in SETS},
        resampling=Resampling(unit="people", people=people, unknown=0),
        scores={
            name: {m: score((own[place],) * 3, "judge") for m, own in values.items()}
            for place, name in enumerate(SETS)
        },
    )


def pool(
    folder: Path, values: dict[str, tuple[float, ...]], people: int = 48, seeds: int = 3
) -> Pool:
    """Of seeds that agree."""
    return Pool([summary(folder / str(seed), values, people) for seed in range(seeds)])


def test_what_is_asked_for_is_held_where_numbers_are_good(tmp_path):
    found = measures(pool(tmp_path, GOOD))
    assert [(one.what, one.verdict) for one in found if not one.held] == []
    assert len(found) == 10
    ratio = next(one for one in found if "guided over real photos, inside" in one.what)
    assert ratio.shown.startswith("90.0 % [")
    assert [one.what for one in found if "outside judge witness" in one.what]
    assert not [one.what for one in found if "judge loss" in one.what]


@pytest.mark.parametrize(
    ("name", "values", "missed"),
    [
        ("top1", (1.0, 0.15, 0.35, 0.90), "Top-1 of text minus base"),
        ("top1", (1.0, 0.15, 0.50, 0.75), "Top-1 of guided over real"),
        ("top1_witness", (0.80, 0.15, 0.40, 0.50), "Top-1 of guided over real photos, outside"),
        ("frechet_judge", (2.0, 10.2, 10.0, 6.0), "Fréchet of text"),  # not apart
        ("landmark_error", (1.0, 15.0, 12.0, 5.1), "Landmarks off of guided"),
        ("arousal_ccc", (0.95, 0.0, 0.5, 0.79), "Arousal CCC of guided"),
    ],
)
def test_each_is_missed_by_its_own_number(tmp_path, name, values, missed):
    found = [one for one in measures(pool(tmp_path, {**GOOD, name: values})) if one.held is False]
    assert len(found) == 1 and found[0].what.startswith(missed)


def test_too_few_people_and_seeds_are_missed_and_missing_numbers_are_not_held(tmp_path):
    few = measures(pool(tmp_path / "few", GOOD, people=39))
    assert few[0].held is False and few[0].shown == "312, 39 and 3"
    assert measures(pool(tmp_path / "two", GOOD, seeds=2))[0].held is False
    without = {name: own for name, own in GOOD.items() if name != "valence_ccc"}
    (missing,) = [one for one in measures(pool(tmp_path / "no", without)) if one.held is None]
    assert missing.verdict == "not measured" and "valence" in missing.what


def test_the_rows_say_how_far_seeds_are_apart(tmp_path):
    other = {**GOOD, "top1": (1.0, 0.15, 0.60, 0.90)}
    seeds = [summary(tmp_path / str(n), own, 48) for n, own in enumerate((GOOD, other))]
    rows = {row[0]: row[1:] for row in rows_table(Pool(seeds))}
    assert rows["Top-1 ↑"][2].startswith("55.0 %")
    assert rows["Top-1 ↑"][2].endswith("; seeds 50.0 to 60.0")
    assert "seeds" not in rows["Top-1 ↑"][1]


def test_every_candidate_changes_one_valid_setting():
    tiny = Layer("test", {"preset": "tiny"})
    preset, _ = resolve([tiny])
    found = candidates()
    assert found.pop(AS_IT_IS) == () and len(found) > 40
    for name, (override,) in found.items():
        changed, _ = resolve([tiny, override_layer([override])])
        one, other = (config.model_dump(mode="json") for config in (changed, preset))
        differing = [
            f"{section}.{key}"
            for section, fields in one.items()
            if isinstance(fields, dict)
            for key in fields
            if fields[key] != other[section][key]
        ]
        assert differing == [name.partition("=")[0]], name


def test_the_better_half_and_the_preset_go_on(tmp_path):
    def tried(name: str, top1: float, frechet: float) -> Tried:
        values = {
            "top1": (1.0, 0.15, top1, top1),
            "frechet_judge": (2.0, 20.0, frechet, frechet),
            "landmark_error": GOOD["landmark_error"],
        }
        return Tried(name, pool(tmp_path / name, values, seeds=1))

    every = {
        AS_IT_IS: tried(AS_IT_IS, 0.5, 10.0),
        "right and alike": tried("right and alike", 0.7, 8.0),
        "right and unlike": tried("right and unlike", 0.7, 40.0),
        "wrong": tried("wrong", 0.2, 10.0),
    }
    assert better_half(every, list(every)) == [AS_IT_IS, "right and alike", "wrong"]
    found = gain(every["right and alike"], every[AS_IT_IS])
    assert found is not None and found.value == pytest.approx(0.4 + 0.2)
    assert gain(every[AS_IT_IS], every[AS_IT_IS]) is None


def test_a_search_is_written_best_first_with_what_failed(tmp_path, monkeypatch):
    facts = {"device": "d", "torch": "2", "base_sha256": "ab" * 32, "seconds": {"train": 5.0}}
    monkeypatch.setattr("tests.benchmarks.search_tiny.setting", lambda _: facts)
    better = {**GOOD, "top1": (1.0, 0.15, 0.60, 0.95)}
    every = {
        AS_IT_IS: Tried(AS_IT_IS, pool(tmp_path / "a", GOOD)),
        "better": Tried("better", pool(tmp_path / "b", better, seeds=2)),
    }
    write_result(
        Workspace(tmp_path, Config()), every, {"bad": "it broke"}, {"train.steps": 9}, tmp_path
    )
    text = (tmp_path / "search_tiny.md").read_text(encoding="utf-8")
    assert "The preset then: train.steps 9." in text
    assert text.index("| better | 2 | +0.15 [") < text.index("| preset | 3 |")
    assert "+10.00 points [" in text and "bad failed: it broke" in text
    plain = json.loads((tmp_path / "search_tiny.json").read_text(encoding="utf-8"))
    assert list(plain["candidates"]) == ["better", AS_IT_IS]
    assert plain["candidates"]["better"]["gain"]["value"] == pytest.approx(0.15)


def test_pictures_stand_in_rows_under_each_other(tmp_path):
    class Grey:
        def __init__(self, value: float) -> None:
            self.value = value

        def picture(self, key: str, size: int) -> Picture:
            if key == "k1":
                return Picture(None, "missing")
            return Picture(torch.full((3, size, size), self.value))

        def fingerprint(self, key: str) -> str:
            return key

    keys = [f"k{n}" for n in range(14)]
    to = tmp_path / "rows.png"
    picture_rows({"a": Grey(-1.0), "b": Grey(0.0)}, keys, ["happy"] * 14, 16, to)
    sheet = np.asarray(Image.open(to))
    assert sheet.shape == (2 * (18 + 2 * 16), 74 + 12 * 16, 3)
    assert sheet[18 + 8, 74 + 8].tolist() == [0, 0, 0]
    assert sheet[18 + 16 + 8, 74 + 8].tolist() == [128, 128, 128]
    assert sheet[18 + 8, 74 + 16 + 8].tolist() == [255, 255, 255]
    assert sheet[50 + 18 + 8, 74 + 16 + 8].tolist() == [0, 0, 0]


def test_a_folder_of_other_people_is_refused_and_steps_add_up(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(tiny_road, "preprocess", lambda *_: None)

    def synthesize(folder: Path, **how: object) -> None:
        made.append((how["count"], how["identity_range"]))
        (folder / "photos" / "labels.csv").write_text("key\n", encoding="utf-8")

    monkeypatch.setattr(tiny_road, "synthesize", synthesize)
    people = People(5, 7, (3840, 4096))
    workspace = make_workspace(tmp_path, people, ["train.steps=9"], Reporter())
    assert workspace.config.split.validation_count == 40 and workspace.config.train.steps == 9
    make_workspace(tmp_path, people, [], Reporter())
    assert made == [(96, (3840, 4096))]
    with pytest.raises(UserError, match="holds other people"):
        make_workspace(tmp_path, People(6, 7, (3840, 4096)), [], Reporter())
    before = seconds_of(tmp_path)["preprocess"]
    with spent(tmp_path, "preprocess"):
        pass
    assert seconds_of(tmp_path)["preprocess"] >= before
    told = time_told({"train": 3700.0, "rest": 65.0})
    assert told == "1 h 02 min (train 1 h 01 min, rest 1 min 05 s)"


@pytest.fixture
def faked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A search whose training and measuring are faked; what was trained, in order."""
    trained: list[str] = []
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "sfe.yaml").write_text("preset: tiny\n", encoding="utf-8")

    def launch(workspace: Workspace, options: TrainOptions, reporter: Reporter) -> SimpleNamespace:
        if workspace.config.train.ema_decay == 0.95:
            raise RunError("run x", "learnt nothing", "look at it")
        trained.append(str(options.run))
        (workspace.runs / str(options.run)).mkdir(parents=True)
        return SimpleNamespace(step=3)

    def package(workspace: Workspace, run: str, *_: object, **__: object) -> None:
        (workspace.packaged / run).mkdir(parents=True)
        (workspace.packaged / run / "provenance.json").write_text("{}", encoding="utf-8")

    def evaluate(workspace: Workspace, *_: object, name: str) -> EvaluationSummary:
        sharper = workspace.config.sampling.guidance_scale == 2.0
        values = {**GOOD, "top1": (1.0, 0.15, 0.60 if sharper else 0.50, 0.90)}
        found = summary(workspace.evaluation / name, values, 16)
        write_json(found.folder / "summary.json", found.as_json())
        return found

    road = "tests.benchmarks.search_tiny"
    facts = {"device": "d", "torch": "2", "base_sha256": "ab" * 32, "seconds": {}}
    monkeypatch.setattr(f"{road}.make_workspace", lambda folder, *_: load_workspace(folder))
    monkeypatch.setattr(f"{road}.launch", launch)
    monkeypatch.setattr(f"{road}.package_checkpoint", package)
    monkeypatch.setattr(f"{road}.evaluate", evaluate)
    monkeypatch.setattr(f"{road}.setting", lambda _: facts)
    return trained


def test_a_further_candidate_may_hold_lists(tmp_path, faked):
    further = "guidance.block_channels=[8,16,32,96],train.steps=3"
    every = chosen_candidates(load_workspace(tmp_path / "work"), ["no such"], [further])
    assert every == {AS_IT_IS: (), further: tuple(further.rsplit(",", 1))}


def test_a_search_halves_shares_runs_and_does_nothing_twice(tmp_path, faked):
    command = ["--work", str(tmp_path / "work"), "--results", str(tmp_path), "--seeds", "2"]
    for text in ("guidance_scale=2", "guidance_scale=6", "ema_decay=0.95", "ema_decay=0.99"):
        command += ["--only", text]
    search_tiny.main(command)
    found = json.loads((tmp_path / "search_tiny.json").read_text(encoding="utf-8"))
    seeds = {name: one["seeds"] for name, one in found["candidates"].items()}
    # Of four that could be trained, two of them by the name of one, the better two go on.
    assert seeds.pop("sampling.guidance_scale=2") == 2 and seeds.pop(AS_IT_IS) == 2
    assert sorted(seeds.values()) == [1, 1, 2]
    assert next(iter(found["candidates"])) == "sampling.guidance_scale=2"
    assert found["failed"].keys() == {"train.ema_decay=0.95"}
    assert (
        found["preset"]["sampling.guidance_scale"] == preset_config("tiny").sampling.guidance_scale
    )
    # The preset and the guidance scales draw with one run a seed: two, and ema_decay's own three.
    assert len(faked) == len(set(faked)) == 5
    assert list((tmp_path / "work" / "runs").iterdir()) == []
    before = list(faked)
    search_tiny.main(command)
    assert faked == before
    assert json.loads((tmp_path / "search_tiny.json").read_text(encoding="utf-8")) == found
