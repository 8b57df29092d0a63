"""FLAME's files as published: read without chumpy, refused when they would run code."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from sfe_core.errors import UserError
from sfe_core.faces.flame.files import TEMPLATE, find
from sfe_core.faces.flame.landmarks import load_landmark_embedding
from sfe_core.faces.flame.parameters import load_flame
from sfe_core.faces.flame.unpickling import as_array, load_arrays
from tests.flame_files import (
    BLEND_SHAPES,
    FACES,
    VERTICES,
    head_surface,
    make_disk,
    published_class,
)


class Trap:
    """Unpickles by running a command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_model_reads_without_chumpy(flame_folder: Path) -> None:
    found = load_flame(flame_folder)
    assert found.shapedirs.shape == (VERTICES, 3, BLEND_SHAPES)
    assert found.faces.shape == (FACES, 3)
    assert found.parents.tolist() == [-1, 0, 1, 1, 1]
    assert np.allclose(found.v_template, head_surface(make_disk()))
    assert np.allclose(found.J_regressor.sum(1), 1) and np.allclose(found.weights.sum(1), 1)
    assert not any(name.split(".")[0] == "chumpy" for name in sys.modules)


def test_model_file_can_be_named_and_has_two_names(flame_folder: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "flame2023.pkl"
    renamed.symlink_to(flame_folder / "generic_model.pkl")
    by_file, by_folder = load_flame(renamed), load_flame(tmp_path)
    assert (by_file.shapedirs == by_folder.shapedirs).all()


def test_files_are_found_in_emocas_layout(tmp_path: Path) -> None:
    path = tmp_path / "FLAME" / "geometry" / "head_template.obj"
    path.parent.mkdir(parents=True)
    path.write_text("")
    assert find(tmp_path, TEMPLATE) == find(tmp_path / "FLAME", TEMPLATE) == path


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "ran"
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps({"v_template": Trap(target)}, protocol=protocol))
    with pytest.raises(UserError, match="system"):
        load_flame(path)
    assert not target.exists()


def test_an_npy_that_runs_code_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    path = tmp_path / "landmark_embedding.npy"
    np.save(path, np.array({"static_lmk_faces_idx": Trap(target)}, dtype=object))
    with pytest.raises(UserError, match="system"):
        load_landmark_embedding(path)
    assert not target.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "exec", "__import__"])
def test_builtins_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(f"c__builtin__\n{name}\n.".encode())
    with pytest.raises(UserError, match=name):
        load_arrays(path, "the page")


def test_a_torn_file_and_a_missing_one_are_told(tmp_path: Path, flame_folder: Path) -> None:
    torn = tmp_path / "generic_model.pkl"
    torn.write_bytes((flame_folder / "generic_model.pkl").read_bytes()[:100_000])
    with pytest.raises(UserError, match="download it again"):
        load_flame(torn)
    with pytest.raises(UserError, match=r"generic_model\.pkl or flame2023\.pkl"):
        load_flame(tmp_path / "elsewhere")


@pytest.mark.parametrize("key", ["posedirs", "f", "kintree_table"])
def test_a_missing_key_is_named(tmp_path: Path, flame_folder: Path, key: str) -> None:
    stored = load_arrays(flame_folder / "generic_model.pkl", "")
    plain = {name: as_array(stored[name], "") for name in stored if name[:2] != "bs"}
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps(plain))
    assert load_flame(path).faces.shape == (FACES, 3)  # plain arrays do as well
    del plain[key]
    path.write_bytes(pickle.dumps(plain))
    with pytest.raises(UserError, match=f"no {key}"):
        load_flame(path)


def test_a_model_of_other_shapes_is_refused(tmp_path: Path, flame_folder: Path) -> None:
    stored = load_arrays(flame_folder / "generic_model.pkl", "")
    plain = {name: as_array(stored[name], "") for name in stored if name[:2] != "bs"}
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps({**plain, "weights": plain["weights"][:, :4]}))
    with pytest.raises(UserError, match="weights: has shape"):
        load_flame(path)
    path.write_bytes(pickle.dumps({**plain, "shapedirs": plain["shapedirs"][:, :, :10]}))
    with pytest.raises(UserError, match="10 blend shapes"):
        load_flame(path)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_chumpy_and_scipy_objects_give_their_values(tmp_path: Path, protocol: int) -> None:
    values = np.arange(24.0).reshape(2, 3, 4)
    chosen = np.array([0, 5, 23])
    sparse = scipy.sparse.random(4, 6, 0.5, random_state=0)
    path = tmp_path / "objects.pkl"
    with (
        published_class("chumpy.ch", "Ch") as ch,
        published_class("chumpy.reordering", "Select") as select,
    ):
        objects = {
            "ch": ch(x=values),
            "select": select(a=ch(x=values), idxs=chosen, preferred_shape=(3, 1)),
            "csc": sparse.tocsc(),
            "csr": sparse.tocsr(),
        }
        path.write_bytes(pickle.dumps(objects, protocol=protocol))
    found = {name: as_array(value, name) for name, value in load_arrays(path, "").items()}
    assert (found["ch"] == values).all()
    assert (found["select"] == values.ravel()[chosen][:, None]).all()
    assert (found["csc"] == sparse.toarray()).all() and (found["csr"] == sparse.toarray()).all()


def test_a_chumpy_expression_without_value_is_told(tmp_path: Path) -> None:
    path = tmp_path / "objects.pkl"
    with published_class("chumpy.ch_ops", "add") as add:
        path.write_bytes(pickle.dumps(add(a=1, b=2), protocol=2))
    with pytest.raises(UserError, match=r"chumpy\.ch_ops\.add"):
        as_array(load_arrays(path, ""), "v_template")


def test_landmark_embedding_reads_its_tensors(flame_folder: Path) -> None:
    found = load_landmark_embedding(flame_folder)
    assert found.dynamic_faces.shape == (79, 17) and found.dynamic_weights.shape == (79, 17, 3)
    assert found.static_faces.shape == (51,)
    assert (found.dynamic_faces[1] == np.roll(found.dynamic_faces[0], 1)).all()
