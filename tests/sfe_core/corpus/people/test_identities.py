"""Whose a photo is: names of known sets, folders of people and folders that are none's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.config.corpus_sections import SplitConfig
from sfe_core.corpus.people.duplicates import Duplicates, HashedFace
from sfe_core.corpus.people.identities import find_identities
from sfe_core.corpus.people.people_folders import find_people, is_common
from sfe_core.corpus.people.subjects import (
    CELEBA_LIST,
    emotion_named_people,
    read_celeba,
    subject_of,
)

NAMES = {
    "KDEF/AF01/AF01NES": "KDEF F01",
    "KDEF/BF01/BF01HAHL": "KDEF F01",
    "kdef_flat/am31sus": "KDEF M31",
    "jaffe/KA.AN1.39": "JAFFE KA",
    "ck/S005/001/S005_001_00000011": "CK+ S005",
    "rafd/Rafd090_01_Caucasian_female_happy_frontal": "RaFD 01",
    "rafd/Rafd045_73_Moroccan_male_angry_left": "RaFD 73",
    "CFD/WF-001/CFD-WF-001-014-N": "CFD WF-001",
    "mmi/S002-005/0012": "MMI S002",
    "disfa/LeftVideoSN001_comp/00012": "DISFA SN001",
    "disfa/SN027/12": "DISFA SN027",
    "bu3dfe/F0001/F0001_AN01WH_F2D": "BU-3DFE F0001",
    "bu4dfe/F001/Angry/000": "BU-4DFE F001",
    "BP4D/F001/T1/2440": "BP4D F001",
    "BP4D/F001_T1_2440": "BP4D F001",
    "oulu/NI/Strong/P007/Happiness/003": "Oulu-CASIA P007",
    "unbc/ll042t1aaaff001": "UNBC-McMaster LL042",
    "multipie/001_01_01_051_00": "Multi-PIE 001",
    "ravdess/Actor_12/01-01-03-01-01-01-12_004": "RAVDESS 12",
    "crema/1001_DFA_ANG_XX_3": "CREMA-D 1001",
    "faces/004_o_m_a_a": "FACES 004",
    "nimstim/01F_AN_C": "NimStim 01F",
    "yale/subject01.happy": "Yale 01",
    "vggface2/train/n000001/0001_01": "VGGFace2 N000001",
    "casia/0000045/001": "CASIA-WebFace 0000045",
    "lfw/George_W_Bush/George_W_Bush_0001": "George_W_Bush",
    "Ana_Maria_0012": "Ana_Maria",
    "aff/cropped_aligned/video27/00001": "Aff-Wild2 VIDEO27",
    "mine/subject_07/a": "mine/subject 7",
    "mine/subject7-happy": "mine/subject 7",
    "train/Person 3/happy/1": "person 3",
    "video12/0001": "video 12",
    "clip_3_00012": "clip 3",
}


@pytest.mark.parametrize(("key", "person"), NAMES.items())
def test_subject_of_a_known_set(key: str, person: str) -> None:
    assert subject_of(key) == person


@pytest.mark.parametrize(
    "key",
    [
        "1221/f4c7d0", "happy/img_001", "train/3/train_00001_aligned", "IMG_20230512_170000",
        "Happy_Woman_0001", "Test_Image_0001", "angry_actor_104", "person_0001", "Training_123",
        "000001", "S1/a", "anna/1", "DSC_0042",
    ],
)  # fmt: skip
def test_other_names_say_nothing(key: str) -> None:
    assert subject_of(key) is None


@pytest.mark.parametrize(
    "word",
    [
        "happy", "Anger", "0_neutral", "train", "val", "fold_3", "images", "aligned", "2023",
        "2023-05-12", "20230512_170000", "12.05.2023", "affectnet", "RAF-DB", "ck+", "fer2013",
        "set_a", "Part 2", "Manually_Annotated", "10_woman", "unknown",
    ],
)  # fmt: skip
def test_folders_that_are_nobodys(word: str) -> None:
    assert is_common(word)


@pytest.mark.parametrize("word", ["anna", "Ben", "George_W_Bush", "April", "Müller", "1221", "s12"])
def test_folders_that_may_be_somebodys(word: str) -> None:
    assert not is_common(word)


def vectors_of(people: dict[str, int]) -> dict[str, np.ndarray]:
    """Vectors as dlib's: about 0.35 apart for a person, 0.8 for two."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 0.05, (100, 128))
    return {key: centres[who] + rng.normal(0, 0.022, 128) for key, who in people.items()}


def keys_of(folders: list[str], each: int = 6) -> list[str]:
    return [f"{folder}/{shot}" for folder in folders for shot in range(each)]


@pytest.mark.parametrize(
    ("folders", "person"),
    [
        (["anna", "ben", "chloe"], 0),
        (["10", "11", "12", "13"], 0),
        (["session_1", "session_2", "session_3"], 0),
        (["mine/anna", "mine/ben", "yours/chloe", "yours/dan"], slice(None)),
        (["anna/work", "anna/home", "ben/work", "ben/home"], 0),
        (["train/anna/happy", "val/ben/sad", "val/chloe/sad"], 1),
    ],
)
def test_folders_of_people_are_told_by_their_faces(folders: list[str], person: int | slice) -> None:
    keys = keys_of(folders)
    people = [whole if isinstance(person, slice) else whole.split("/")[person] for whole in folders]
    vectors = vectors_of(
        {key: people.index(people[folders.index(key.rpartition("/")[0])]) for key in keys}
    )
    found = find_people(keys, vectors)
    if isinstance(person, slice):
        expected = {key: key.rpartition("/")[0] for key in keys}
    else:
        expected = {key: key.split("/")[person] for key in keys}
    assert found.people == expected and not found.doubtful


@pytest.mark.parametrize(
    "folders",
    [
        ["1221", "17", "340"],
        ["wedding", "office", "garden"],
        ["session_1", "session_2"],
        ["freude", "trauer"],
    ],
)
def test_chunks_shoots_and_classes_are_not_people(folders: list[str]) -> None:
    keys = keys_of(folders, 8)
    vectors = vectors_of({key: int(key.rpartition("/")[2]) for key in keys})  # all in each
    assert find_people(keys, vectors).people == {}


def test_whole_sets_beside_each_other_are_not_people() -> None:
    keys = keys_of(["lab", "web"], 8)
    people = {key: place for place, key in enumerate(keys)}
    vectors = {
        key: vector + (0.04 if key.startswith("lab") else 0.0)
        for key, vector in vectors_of(people).items()
    }
    assert find_people(keys, vectors).people == {}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["anna", "ben"], {"anna", "ben"}),
        (["mine/anna", "mine/ben"], {"mine/anna", "mine/ben"}),
        (["anna/work", "anna/home", "ben/work", "ben/home"], {"anna", "ben"}),
        (["1", "2"], set()),
    ],
)
def test_folders_of_two_photos_go_by_their_names(folders: list[str], expected: set[str]) -> None:
    keys = keys_of(folders, 2)
    people = sorted({folder.split("/")[0] for folder in folders})
    vectors = vectors_of({key: people.index(key.split("/")[0]) for key in keys})
    assert set(find_people(keys, vectors).people.values()) == expected


def test_without_vectors_folders_are_only_told() -> None:
    found = find_people(keys_of(["anna", "ben"]), None)
    assert found.people == {} and found.doubtful == ["anna", "ben"]


def test_copies_say_nothing_of_likeness() -> None:
    keys = keys_of(["1221", "17"], 8)
    people = {key: place for place, key in enumerate(keys)}
    copies = {key for key in keys if not key.endswith(("/0", "/1"))}
    vectors = vectors_of(people) | {
        key: vectors_of(people)[f"{key.partition('/')[0]}/0"] for key in copies
    }
    assert find_people(keys, vectors).people != {}
    assert find_people(keys, vectors, copies).people == {}


def faces(keys: list[str]) -> list[HashedFace]:
    return [HashedFace(key, 2 if "#2" in key else 1, "", "") for key in keys]


def identities(keys: list[str], labelled: dict[str, str], mode: str = "auto", vectors=None):
    config = SplitConfig(identity=mode)
    return find_identities(config, faces(keys), labelled, {}, Duplicates(), vectors)


def test_labels_stand_and_lower_sources_take_their_names() -> None:
    keys = ["SN001/1", "SN001/2", "SN002/1", "AF01NES", "x"]
    found = identities(keys, {"SN001/1": "Ann", "x": "Bo"})
    assert found.of == {
        "SN001/1": "Ann", "SN001/2": "Ann", "SN002/1": "DISFA SN002", "AF01NES": "KDEF F01",
        "x": "Bo",
    }  # fmt: skip
    assert found.by_source == {"labels": 2, "file names": 2}
    assert found.known == 4 and found.unknown_faces == 0


def test_a_folder_of_several_labelled_people_is_nobodys() -> None:
    found = identities(["a/1", "a/2", "a/3", "b/1"], {"a/1": "Ann", "a/2": "Bo"}, "folders")
    assert found.of == {"a/1": "Ann", "a/2": "Bo", "b/1": "b"}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("none", {}),
        ("labels", {"anna/1": "Ann"}),
        (
            "folders",
            {"anna/1": "Ann", "anna/2": "Ann", "AF01NES": "KDEF F01", "ben/happy/1": "ben"},
        ),
    ],
)
def test_modes(mode: str, expected: dict[str, str]) -> None:
    keys = ["anna/1", "anna/2", "AF01NES", "ben/happy/1", "happy/2"]
    assert identities(keys, {"anna/1": "Ann"}, mode).of == expected


def test_further_faces_of_a_photo_are_not_its_subject() -> None:
    assert identities(["AF01NES", "AF01NES#2"], {}).of == {"AF01NES": "KDEF F01"}


def test_clusters_join_faces_that_are_alike() -> None:
    keys = [f"{n:02d}" for n in range(12)]
    vectors = vectors_of({key: int(key) % 3 for key in keys})
    found = identities(keys, {"01": "Ann"}, "clusters", vectors)
    assert found.of == {key: {0: "like 00", 1: "Ann", 2: "like 02"}[int(key) % 3] for key in keys}
    assert found.by_source == {"labels": 1, "clusters": 2}


def test_names_before_an_emotion_are_people() -> None:
    keys = ["lab/anna_happy_1", "lab/anna-sad", "lab/ben_happy", "lab/ben_angry.2", "lab/x"]
    assert emotion_named_people(keys) == dict(
        zip(keys, ["lab/anna", "lab/anna", "lab/ben", "lab/ben"], strict=False)
    )


@pytest.mark.parametrize(
    "keys",
    [
        ["img_happy_1", "img_sad_1", "photo_happy_2", "photo_sad_2"],  # no names
        ["x_happy_1", "x_sad_1", "x_fear_1"],  # one for all
        ["001_happy", "002_sad", "003_fear"],  # numbers of pictures
        ["happy_anna_1", "sad_anna_1", "happy_ben_1"],
    ],
)
def test_other_words_before_an_emotion_are_not(keys: list[str]) -> None:
    assert emotion_named_people(keys) == {}


def test_celebas_own_list(tmp_path: Path) -> None:
    (tmp_path / "celeba").mkdir()
    (tmp_path / "celeba" / CELEBA_LIST).write_text("000001.jpg 2880\n000002.jpg 2937\n\n")
    assert read_celeba(tmp_path) == {"000001": "CelebA 2880", "000002": "CelebA 2937"}
