"""Small data sets in the layouts of public ones, with what their labels mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.files import derive_seed

Cells = Mapping[str, str]


@dataclass(frozen=True)
class LabelledSet:
    """Files of a set, and what an import must make of it.

    Attributes:
        source: what is imported, below the set's folder.
        texts: its label files.
        pictures: its images.
        labels: key → cells of labels.csv.
        scheme: whose numbers they are; None where the set has names.
        images: the folder of the images, if that is to be named.
    """

    source: str
    texts: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[str, ...] = ()
    labels: Mapping[str, Cells] = field(default_factory=dict)
    scheme: str | None = None
    images: str | None = None


def _emotions(**emotions: str) -> dict[str, Cells]:
    return {key: {"emotion": emotion} for key, emotion in emotions.items()}


_RAF = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")
_HASHES = tuple(f"{'0123456789abcdef' * 3}{n:08d}" for n in range(3))
_CAMERAS = ("LeftVideoSN001_comp", "RightVideoSN001_comp")

SETS: dict[str, LabelledSet] = {
    "raf-db list": LabelledSet(
        "train_labels.csv",
        {
            "train_labels.csv": "image,label\n"
            + "".join(f"train_0000{n}_aligned.jpg,{n}\n" for n in range(1, 8))
        },
        tuple(f"flat/train_0000{n}_aligned.jpg" for n in range(1, 8)),
        _emotions(**{f"train_0000{n}_aligned": _RAF[n - 1] for n in range(1, 8)}),
        "raf-db",
        "flat",
    ),
    "raf-db list of images in folders": LabelledSet(
        "list_patition_label.txt",
        {"list_patition_label.txt": "train_00001.jpg 5\ntest_0001.jpg 7\n"},
        ("DATASET/train/5/train_00001_aligned.jpg", "DATASET/test/7/test_0001_aligned.jpg"),
        _emotions(**{"train/5/train_00001_aligned": "sad", "test/7/test_0001_aligned": "neutral"}),
        "raf-db",
        "DATASET",
    ),
    "raf-db folders": LabelledSet(
        "DATASET",
        pictures=(
            "DATASET/train/1/train_00001_aligned.jpg",
            "DATASET/test/7/test_0001_aligned.jpg",
        ),
        labels=_emotions(
            **{
                "train/1/train_00001_aligned": "surprise",
                "test/7/test_0001_aligned": "neutral",
            }
        ),
        scheme="raf-db",
    ),
    "affectnet without header": LabelledSet(
        "paths.csv",
        {
            "paths.csv": "".join(
                f"/cluster/8/{name}.jpg,{n}.0\n" for name, n in zip(_HASHES, (0, 7, 9), strict=True)
            )
        },
        tuple(f"images/8/{name}.jpg" for name in _HASHES),
        _emotions(**{f"8/{_HASHES[0]}": "neutral", f"8/{_HASHES[1]}": "contempt"}),
        "affectnet",
        "images",
    ),
    "fer2013 folders": LabelledSet(
        "fer2013",
        pictures=("fer2013/train/0/a.png", "fer2013/test/3/b.png"),
        labels=_emotions(**{"train/0/a": "anger", "test/3/b": "happy"}),
        scheme="fer2013",
    ),
    "ck+ list from Excel": LabelledSet(
        "list.csv",
        {"list.csv": "sep=;\nSubject;File;Emotion\nS005;S005_001_00000011.png;3\n"},
        ("images/S005_001_00000011.png",),
        {"S005_001_00000011": {"emotion": "disgust", "identity": "S005"}},
        "ck+",
        "images",
    ),
    "jaffe codes": LabelledSet(
        "list.txt",
        {"list.txt": "KA.AN1.39.tiff AN\nKA.HA1.29.tiff HA\n"},
        ("images/KA.AN1.39.tiff", "images/KA.HA1.29.tiff"),
        _emotions(**{"KA.AN1.39": "anger", "KA.HA1.29": "happy"}),
        None,
        "images",
    ),
    "frames in named classes": LabelledSet(
        "classes",
        pictures=("classes/happy/01/a.jpg", "classes/happy/02/b.jpg", "classes/sad/01/c.jpg"),
        labels=_emotions(**{"happy/01/a": "happy", "happy/02/b": "happy", "sad/01/c": "sad"}),
    ),
    "disfa cameras": LabelledSet(
        "ActionUnit_Labels",
        {"ActionUnit_Labels/SN001/SN001_au12.txt": "1,0\n2,5\n"},
        tuple(f"frames/{camera}/0000{n}.jpg" for camera in _CAMERAS for n in (1, 2)),
        {
            f"{camera}/0000{n}": {"identity": "SN001", "AU12": str(5 * n - 5)}
            for camera in _CAMERAS
            for n in (1, 2)
        },
        None,
        "frames",
    ),
    "ferplus votes with a header": LabelledSet(
        "fer2013new.csv",
        {
            "fer2013new.csv": (
                "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,"
                "unknown,NF\n"
                "Training,fer0000000.png,4,0,0,1,5,2,0,0,0,0\n"
                "Training,fer0000001.png,1,0,0,1,0,0,0,0,8,0\n"
                "Training,fer0000002.png,5,0,0,5,0,0,0,0,0,0\n"
                "Training,fer0000003.png,0,9,1,0,0,0,0,0,0,0\n"
            )
        },
        tuple(f"images/fer000000{n}.png" for n in range(4)),
        _emotions(fer0000000="anger", fer0000003="happy"),
        None,
        "images",
    ),
    "ferplus votes without a header": LabelledSet(
        "label.csv",
        {"label.csv": 'fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0\n'},
        ("FER2013Train/fer0000000.png",),
        _emotions(fer0000000="neutral"),
        None,
        "FER2013Train",
    ),
    "expw, the largest face of an image": LabelledSet(
        "label.lst",
        {
            "label.lst": (
                "a_1.jpg 0 10 20 60 50 20.1 5\na_1.jpg 1 10 80 300 200 90.5 3\n"
                "b_2.jpg 0 161 163 309 299 99.7 6\n"
            )
        },
        ("image/a_1.jpg", "image/b_2.jpg"),
        _emotions(a_1="happy", b_2="neutral"),
        "expw",
        "image",
    ),
    "py-feat as it is written": LabelledSet(
        "pyfeat.csv",
        {
            "pyfeat.csv": (
                ",input,frame,FaceScore,AU01,AU12,anger,disgust,fear,happiness,sadness,surprise,"
                "neutral\n0,/x/a.jpg,0,0.99,0.35,0.95,0,0,0,0.98,0,0,0.02\n"
            )
        },
        ("images/a.jpg",),
        {"a": {"emotion": "happy", "AU1_present": "0", "AU12_present": "1"}},
        None,
        "images",
    ),
    "one-hot": LabelledSet(
        "onehot.csv",
        {"onehot.csv": "file;is_happy;is_sad;is_angry\na.jpg;0;1;0\nb.jpg;0;0;0\n"},
        ("images/a.jpg", "images/b.jpg"),
        _emotions(a="sad"),
        None,
        "images",
    ),
    "disfa in one folder": LabelledSet(
        "DISFA",
        {"DISFA/ActionUnit_Labels/SN002/SN002_au1.txt": "1,2\n"},
        ("DISFA/Images/SN002/left/1.png", "DISFA/Images/SN002/right/1.png"),
        {f"Images/SN002/{side}/1": {"identity": "SN002", "AU1": "2"} for side in ("left", "right")},
    ),
    "ck+ as handed out": LabelledSet(
        "CK",
        {
            "CK/Emotion/S005/001/S005_001_00000011_emotion.txt": "   3.0000000e+00\n",
            "CK/FACS/S005/001/S005_001_00000011_facs.txt": (
                "   9.0000000e+00   5.0000000e+00\n   1.7000000e+01   0.0000000e+00\n"
            ),
        },
        tuple(f"CK/cohn-kanade-images/S005/001/S005_001_000000{n}.png" for n in ("01", "11")),
        {
            "cohn-kanade-images/S005/001/S005_001_00000011": {
                "emotion": "disgust",
                "identity": "S005",
                "AU9": "5",
                "AU17_present": "1",
            }
        },
    ),
    "aff-wild2 as handed out": LabelledSet(
        "labels",
        {
            "labels/EXPR_Classification_Challenge/Train_Set/1-30-1280x720.txt": (
                "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n4\n-1\n3\n"
            ),
            "labels/VA_Estimation_Challenge/Train_Set/1-30-1280x720.txt": (
                "valence,arousal\n0.5,0.25\n-5,-5\n-0.5,0.75\n"
            ),
            "labels/AU_Detection_Challenge/Train_Set/1-30-1280x720.txt": (
                "AU1,AU12\n0,1\n-1,-1\n1,0\n"
            ),
        },
        tuple(f"aligned/1-30-1280x720/0000{n}.jpg" for n in (1, 2, 3)),
        {
            "1-30-1280x720/00001": {
                "emotion": "happy",
                "valence": "0.5",
                "arousal": "0.25",
                "identity": "1-30-1280x720",
                "AU1_present": "0",
                "AU12_present": "1",
            },
            "1-30-1280x720/00003": {
                "emotion": "fear",
                "valence": "-0.5",
                "arousal": "0.75",
                "identity": "1-30-1280x720",
                "AU1_present": "1",
                "AU12_present": "0",
            },
        },
        None,
        "aligned",
    ),
    "py-feat probabilities": LabelledSet(
        "pyfeat.csv",
        {"pyfeat.csv": "image,AU01,AU12\nface1.jpg,0.35,0.95\nface2.jpg,0.75,0.05\n"},
        ("images/face1.jpg", "images/face2.jpg"),
        {
            "face1": {"AU1_present": "0", "AU12_present": "1"},
            "face2": {"AU1_present": "1", "AU12_present": "0"},
        },
        None,
        "images",
    ),
    "openface units": LabelledSet(
        "openface.csv",
        {"openface.csv": "filename, AU12_r, AU12_c\nface1.jpg, 0.81, 1.0\n"},
        ("images/face1.jpg",),
        {"face1": {"AU12": "0.81", "AU12_present": "1"}},
        None,
        "images",
    ),
}


def make(folder: Path) -> None:
    """Every set, in a sub-folder of its name."""
    for name, labelled in SETS.items():
        write_set(folder / name, labelled)


def write_set(folder: Path, labelled: LabelledSet) -> None:
    """A set's files; its images are noise."""
    for name, text in labelled.texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name in labelled.pictures:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(derive_seed(name)).integers(0, 256, (12, 12, 3))
        Image.fromarray(noise.astype(np.uint8)).save(folder / name)
