"""The examples of CONTRIBUTING.md hold: each is run beside what the project has."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sfe_core.corpus.importing import entries, formats
from sfe_core.diffusion.families import sd15
from sfe_core.diffusion.families.contract import BaseConfigs
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.metric_record import MetricRecord, OfPictures
from sfe_core.evaluation.metrics import METRICS
from sfe_core.evaluation.statistics.resampling import draw_resamples
from sfe_core.faces import backends
from sfe_core.training.contract import NoOptions, RecipeSpec

PAGE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"


def example(heading: str, **given: Any) -> dict[str, Any]:
    """What the first example below a heading defines, with the names `given` there already."""
    text = PAGE.read_text(encoding="utf-8").split(f"## Add {heading}\n")[1].split("\n## ")[0]
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    exec("from __future__ import annotations\n" + code, given)
    return given


def test_an_importer_is_one_reader_and_one_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = example("an importer", Entry=entries.Entry, Form=formats.Form, EMOTIONS=EMOTIONS)
    monkeypatch.setattr(formats, "FORMS", known["FORMS"] | formats.FORMS)
    path = tmp_path / "mine.txt"
    path.write_text("1/a.jpg happy\n1/b.jpg glad\n", encoding="utf-8")
    source, problems = formats.find_source(path, None, None), entries.Problems()
    assert source.form == "mine" and source.images is None
    (found,) = source.read((), problems)
    assert (found.image, found.labels) == ("1/a.jpg", {"emotion": "happy"})
    assert [problem.where for problem in problems.listed] == ["mine.txt:2"]


def test_a_detector_is_one_line_of_the_table(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def get(place: str) -> Any:
        asked.append(place)
        return lambda *given: given

    known = example("a detector", _get=get)
    monkeypatch.setattr(backends, "DETECTORS", known["DETECTORS"])
    assert backends.load_detector("mine", min_face_px=24, device="cpu") == (24, "cpu")
    assert asked == ["detectors.my_detector:MyDetector"]


def test_a_metric_is_one_record():
    known = example("a metric", MetricRecord=MetricRecord, OfPictures=OfPictures)
    (record,) = known["METRICS"]
    assert record.name not in {metric.name for metric in METRICS}
    labels = SimpleNamespace(valence=np.array([0.5, np.nan, -0.25]))
    seen = SimpleNamespace(
        column={"valence": np.array([0.25, 0.0, 0.25])}.__getitem__,
        yardstick=SimpleNamespace(labels=labels),
        photos=False,
    )
    read = record.measure(seen)
    found, _ = read.estimate(read.usable, draw_resamples(3, 10, seed=0))
    assert (found.value, found.n) == (0.125, 2)


def test_a_recipe_ends_in_its_spec():
    def nothing(*_: Any) -> None:
        raise NotImplementedError

    given = {"check": nothing, "build": nothing, "MyOptions": NoOptions}
    spec = example("a recipe", RecipeSpec=RecipeSpec, **given)["SPEC"]
    assert (spec.name, spec.check, spec.options) == ("mine", nothing, NoOptions)
    assert spec.higher_is_better == {"accuracy": True, "loss": False}


def test_a_family_recognises_a_base_by_its_configurations():
    names = dict(vars(sd15))
    family = example("a family of base models", **names)["StableDiffusion15"]()
    index = dict.fromkeys(("unet", "vae", "text_encoder"), ("a", "b"))
    for one in (family, sd15.FAMILY):
        assert one.recognises(BaseConfigs(Path("base"), index))
        assert not one.recognises(BaseConfigs(Path("base"), index | {"text_encoder_2": ("a", "b")}))
    assert set(family.parts(BaseConfigs(Path("base"), index))) < set(
        sd15.FAMILY.parts(BaseConfigs(Path("base"), index))
    )
