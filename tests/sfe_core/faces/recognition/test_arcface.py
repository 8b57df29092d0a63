"""ArcFace through onnxruntime, on small networks that the test makes itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfe_core.assets.registry import registry
from sfe_core.errors import UserError
from sfe_core.faces.detection import Face
from sfe_core.faces.recognition.arcface import TEMPLATE, align, five_points
from sfe_core.faces.recognition.identity import load_embedder


def landmarks(turn: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """68 points whose five are the template's, turned (radians), scaled and moved."""
    points = np.zeros((68, 2))
    ring = np.stack([np.cos(np.arange(6)), np.sin(np.arange(6))], axis=1)
    ring -= ring.mean(axis=0)
    points[36:42], points[42:48] = TEMPLATE[0] + ring, TEMPLATE[1] + ring
    points[30], points[48], points[54] = TEMPLATE[2:]
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    # A pixel's centre lies at .5, the template counts it as a whole number.
    return points @ np.array([[cos, sin], [-sin, cos]]) + shift + 0.5


def test_five_points_are_eyes_nose_and_mouth():
    assert five_points(landmarks(0.0, 1.0, (0, 0))) == pytest.approx(TEMPLATE + 0.5)


@pytest.mark.parametrize(
    ("turn", "scale", "shift"), [(0.0, 1.0, (0, 0)), (0.4, 1.5, (60, 20)), (-0.3, 2.0, (10, 90))]
)
def test_a_face_is_turned_scaled_and_moved_onto_the_template(turn, scale, shift):
    points = landmarks(turn, scale, shift)
    y, x = np.mgrid[:400, :400]
    image = np.zeros((400, 400, 3), dtype=np.uint8)
    for channel, (across, down) in enumerate(five_points(points)[[0, 2, 4]] - 0.5):
        near = (x - across) ** 2 + (y - down) ** 2
        image[..., channel] = (255 * np.exp(-near / (2 * (3 * scale) ** 2))).astype(np.uint8)
    cut = align(image, points)
    assert cut.shape == (112, 112, 3) and cut.min() >= 0 and 200 < cut.max() <= 255
    for channel, (across, down) in enumerate(TEMPLATE[[0, 2, 4]]):
        found = np.unravel_index(cut[..., channel].argmax(), (112, 112))
        assert found == (pytest.approx(down, abs=1), pytest.approx(across, abs=1))


def write_network(
    path: Path, takes: tuple[Any, ...] = ("N", 3, 112, 112), width: int = 512
) -> None:
    """Mean colours of 16 patches of an aligned face, times a random matrix."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    random = np.random.default_rng(3)
    channels, side = takes[1], takes[2] // 28
    matrix = random.normal(size=(channels * side**2, width)).astype(np.float32)
    patch = {"kernel_shape": [28, 28], "strides": [28, 28]}
    nodes = [
        helper.make_node("AveragePool", ["data"], ["patches"], **patch),
        helper.make_node("Flatten", ["patches"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["vector"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "face",
        [helper.make_tensor_value_info("data", kind, takes)],
        [helper.make_tensor_value_info("vector", kind, (takes[0], width))],
        [onnx.numpy_helper.from_array(matrix, "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def place_of(root: Path, name: str) -> Path:
    asset = registry()[name]
    return root / asset.folder / asset.files[0].path


def test_an_embedder_that_is_not_in_place_says_where_it_belongs(own_assets_root: Path):
    with pytest.raises(UserError, match=r"not commercial.*put the file at .*glintr100\.onnx"):
        load_embedder("antelopev2")


@pytest.mark.parametrize(("name", "batch"), [("antelopev2", "N"), ("buffalo-l", 1)])
def test_the_vector_is_that_of_the_aligned_face(own_assets_root: Path, name: str, batch: object):
    runtime = pytest.importorskip("onnxruntime")
    path = place_of(own_assets_root, name)
    write_network(path, (batch, 3, 112, 112))
    embedder = load_embedder(name)
    assert (embedder.name, embedder.width) == (name, 512)
    assert embedder.embed([], []).shape == (0, 512)
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (200, 240, 3), dtype=np.uint8)
    faces = [
        Face(box=np.array([0, 0, 100, 100]), score=1.0, landmarks=landmarks(turn, 1.2, (40, 30)))
        for turn in (0.1, -0.2)
    ]
    found = embedder.embed([image, image], faces)
    given = ((align(image, faces[1].landmarks) - 127.5) / 127.5).transpose(2, 0, 1)[None]
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"data": given.astype(np.float32)})
    np.testing.assert_allclose(found[1], wanted[0], rtol=1e-5)
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("takes", [("N", 3, 224, 224), ("N", 1, 112, 112), (8, 3, 112, 112)])
def test_a_network_of_another_shape_is_refused(own_assets_root: Path, takes: tuple[Any, ...]):
    pytest.importorskip("onnxruntime")
    path = place_of(own_assets_root, "antelopev2")
    write_network(path, takes)
    with pytest.raises(UserError, match=r"glintr100.*expected one face \[N, 3, 112, 112\]"):
        load_embedder("antelopev2")
    path.write_bytes(b"no network")
    with pytest.raises(UserError, match="glintr100.*is no ONNX network"):
        load_embedder("antelopev2")


def test_a_missing_runtime_is_told(own_assets_root: Path, monkeypatch: pytest.MonkeyPatch):
    path = place_of(own_assets_root, "antelopev2")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="onnxruntime is not installed.*sfe\\[arcface\\]"):
        load_embedder("antelopev2")
