"""What `from sfe_core import …` offers: it is quick, complete, and its documented examples run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

import sfe_core
from sfe_core.config.workspace import Workspace
from tests.tiny_workspace import write_settings

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "api.md"


@pytest.fixture
def my_work(evaluable: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the examples expect one: my-work/, theirs/, mine/ and portrait.jpg."""
    write_settings(evaluable)
    evaluable.root.rename(tmp_path / "my-work")
    drawn = tmp_path / "my-work" / "generated" / "val300"
    for variant, name in {"base": "theirs", "text": "mine"}.items():
        shutil.copytree(next(drawn.glob(f"{variant}-*")), tmp_path / name)
    Image.fromarray(data.astronaut()[:256, 96:352]).save(tmp_path / "portrait.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_documented_examples_run(my_work: Path, without_plots: None):
    known: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        exec(compile(example, str(DOCUMENT), "exec"), known)
    assert (my_work / "my-work" / "evaluation" / "val300-base+fine" / "report.html").is_file()
    assert known["face"].points.shape == (68, 2)
    assert {tuple(image.shape) for image in known["maps"].values()} == {(3, 128, 128)}
    plain = known["pipeline"]("happy, face", height=128, width=128).images[0]
    assert known["request"].guided
    assert known["noise"].shape == (2, 3, 64, 64)
    assert known["picture"].size == (128, 128) and known["picture"] != plain


def test_every_public_name_is_there_and_documented():
    tables = DOCUMENT.read_text(encoding="utf-8").split("## ")[0]
    assert set(re.findall(r"`([A-Za-z_]+)`", tables)) - {"sfe_core"} == set(sfe_core.__all__)
    for name in sfe_core.__all__:
        assert getattr(sfe_core, name).__doc__
    assert not hasattr(sfe_core, "nothing_of_that_name")


def test_importing_the_package_imports_nothing_heavy():
    check = "import sys, sfe_core; print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
