"""Hair of synthetic people: the person's own, soft at its edges, and no change to the face."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import Raster, raycast
from sfe_core.synthesis.hair import (
    curl_noise,
    grow_hair,
    hair_flow,
    hair_noise,
    hair_score,
    hairdo,
    paint_hair,
    shell_normals,
)
from sfe_core.synthesis.render import face_camera, render_face, visible_faces
from sfe_core.synthesis.spec import HAIR_STYLES, FaceSpec, sample_face, sample_person
from sfe_core.synthesis.strands import draw_strands
from sfe_core.synthesis.surface import Surface

SIDE = 96


def worn(style: str, seed: int = 6, **person: Any) -> FaceSpec:
    """A photograph of one person with the hair of a style."""
    spec = sample_face(seed, "neutral", 40)
    someone = replace(spec.person, hair_style=style, **{"beard": 0.0, **person})
    return replace(spec, person=someone)


def bare_layer(spec: FaceSpec) -> tuple[Floats, Raster, Floats]:
    """A flat grey head with its hair's volume: layer [S, S, 4], raster, vertices."""
    vertices = grow_hair(HeadModel.load().mean, spec)
    camera = face_camera(spec.scene, SIDE)
    raster = raycast(camera.project(vertices), visible_faces(spec.person.hair_style)[0], SIDE, SIDE)
    layer = np.zeros((SIDE, SIDE, 4), np.float32)
    layer[raster.hit] = (120.0, 120.0, 120.0, 1.0)
    return layer, raster, vertices


def with_strands(spec: FaceSpec) -> tuple[Floats, Floats, Raster]:
    """The layer before and after strands, and the raster."""
    layer, raster, vertices = bare_layer(spec)
    before = layer.copy()
    draw_strands(layer, raster, vertices, face_camera(spec.scene, SIDE), spec)
    return before, layer, raster


def scalp_points(count: int = 4000) -> Floats:
    """Points [P, 3] of the mean scalp."""
    head = HeadModel.load()
    corners = head.faces[head.face_region == REGION["scalp"]]
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(3), count)
    picked = corners[rng.integers(len(corners), size=count)]
    return np.einsum("pk,pkc->pc", weights, head.mean[picked]).astype(np.float32)


def test_people_of_one_style_wear_it_differently_and_always_alike() -> None:
    someone = replace(sample_person(5), hair_style="long")
    others = [hairdo(replace(someone, texture_seed=k)) for k in range(20)]
    assert hairdo(someone) == hairdo(replace(someone))
    assert len(set(others)) == 20
    assert {do.flow for do in others} == {"side", "centre", "crown"}


@pytest.mark.parametrize("style", [s for s in HAIR_STYLES if s != "bald"])
def test_strands_are_the_persons_whatever_the_seed_of_the_photograph(style: str) -> None:
    spec = worn(style)
    _, first, _ = with_strands(spec)
    _, again, _ = with_strands(replace(spec, seed=spec.seed + 1))
    assert (first == again).all()
    other = replace(spec.person, texture_seed=spec.person.texture_seed + 1)
    assert (with_strands(replace(spec, person=other))[1] != first).any()


@pytest.mark.parametrize("style", ["short", "medium", "curly", "bob", "long"])
def test_wisps_leave_the_outline_as_partly_clear_hair(style: str) -> None:
    before, after, raster = with_strands(worn(style))
    outside = after[~raster.hit, 3]
    assert ((outside > 0.02) & (outside < 0.98)).sum() > SIDE / 2
    assert outside.max() <= 1.0 and np.isfinite(after).all()
    assert (after[..., 3] >= before[..., 3]).all()


def test_nothing_grows_beyond_the_outline_of_a_bald_head() -> None:
    spec = worn("bald")
    # From the front: seen from the side, the end of a brow does stand out.
    spec = replace(spec, scene=replace(spec.scene, yaw=0.0))
    before, after, _ = with_strands(spec)
    assert (after[..., 3] == before[..., 3]).all()
    # Brows only, above the eyes.
    rows = np.flatnonzero((after != before).any((1, 2)))
    eyes = face_camera(spec.scene, SIDE).project(np.zeros(3))[1]
    assert len(rows) and eyes - 0.3 * SIDE < rows.min() and rows.max() < eyes + 2


def test_strands_behind_a_surface_stay_hidden() -> None:
    spec = worn("medium")
    layer, raster, vertices = bare_layer(spec)
    before = layer.copy()
    wall = np.full_like(raster.depth, 1e6)
    draw_strands(layer, replace(raster, depth=wall), vertices, face_camera(spec.scene, SIDE), spec)
    assert (layer == before).all()


@pytest.mark.parametrize("style", ["long", "curly"])
def test_hair_moves_neither_landmarks_nor_the_bare_head(style: str) -> None:
    bald, haired = render_face(worn("bald"), 48), render_face(worn(style, beard=1.0), 48)
    assert (bald.landmarks == haired.landmarks).all()
    assert (bald.vertices == haired.vertices).all()
    assert (bald.image != haired.image).any()


def test_grown_hair_leaves_the_face_below_the_hairline_where_it_is() -> None:
    spec = worn("medium")
    mean = HeadModel.load().mean
    moved = np.linalg.norm(grow_hair(mean, spec) - mean, axis=1)
    assert moved[hair_score(mean, spec.person) <= 0].max() < 1e-6
    assert 0.008 < moved.max() < 0.04


def test_a_fringe_hangs_lower_than_hair_combed_back() -> None:
    forehead = np.array([[0.0, 0.062, 0.02]], np.float32)
    fringe, short = (hair_score(forehead, worn(s).person)[0] for s in ("fringe", "short"))
    assert fringe - short > 0.015


@pytest.mark.parametrize("style", ["short", "medium", "fringe", "bob", "long", "curly"])
def test_noise_of_strands_is_centred_and_fine_across_but_not_along(style: str) -> None:
    person = worn(style).person
    across, along, direction = hair_flow(scalp_points(), person)
    strand, lock = hair_noise(across, along, person)
    assert np.isfinite(direction).all() and direction.shape == (4000, 3)
    for noise in (strand, lock, curl_noise(scalp_points(), person)):
        assert abs(noise.mean()) < 0.35 and 0.6 < noise.std() < 1.4
    aside, _ = hair_noise(across + 0.003, along, person)
    ahead, _ = hair_noise(across, along + 0.003, person)
    assert np.corrcoef(strand, ahead)[0, 1] > 0.8 > 2 * abs(np.corrcoef(strand, aside)[0, 1])


def test_round_normals_of_shells_are_unit_and_leave_the_skin() -> None:
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(200, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    where = rng.uniform(-0.1, 0.1, (200, 3)).astype(np.float32)
    region = np.where(np.arange(200) < 100, REGION["hair"], REGION["skin"])
    given = normals.copy()
    result = shell_normals(normals, where, region, sample_face(0).scene)
    assert (normals == given).all() and (result[100:] == given[100:]).all()
    assert np.allclose(np.linalg.norm(result[:100], axis=1), 1.0, atol=1e-3)
    assert (result[:100] != given[:100]).any(1).all()


def test_a_highlight_runs_over_hair_and_turns_with_the_light() -> None:
    where = scalp_points(3000)
    normals = where - np.array([0.0, 0.02, -0.075], np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    surface = Surface(
        where, np.zeros_like(where), np.full(3000, REGION["scalp"]), normals.astype(np.float32)
    )
    painted = []
    for light in ((0.8, 0.3, 0.52), (-0.8, 0.3, 0.52)):
        spec = worn("medium")
        spec = replace(spec, scene=replace(spec.scene, light=light))
        colour, gloss = np.full((3000, 3), 150.0, np.float32), np.zeros(3000, np.float32)
        paint_hair(surface, spec, colour, gloss, np.ones(3000, bool))
        painted.append(colour.mean(1))
    brighter = painted[0] - painted[1]
    assert brighter[where[:, 0] > 0.03].mean() > 1.0 > -1.0 > brighter[where[:, 0] < -0.03].mean()
