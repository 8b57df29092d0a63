"""Who a photo of a known data set shows, by the subject's number in its name.

`SUBJECTS` holds, for each set, where in the path the number stands. A pattern is written so that
other sets do not fit it by chance: with the number come the set's own codes of emotion, view or
session. Names of people are one over all of a set, wherever in the photos folder it lies, so that
a set brought in twice is of the same people.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sfe_core.corpus.people.people_folders import is_common, own_folders
from sfe_core.corpus.tables.classes import folder_class

# Beside CelebA's pictures: lines of a file's name and the number of a person.
CELEBA_LIST = "identity_CelebA.txt"

_EKMAN = "anger|angry|disgust|fear|happy|happiness|sad|sadness|surprise|neutral"
# A set → the pattern of its paths without ending; the groups joined are the subject. `^` and `/`
# begin a folder's or a file's name.
_PATTERNS: dict[str, str] = {
    # Two sessions, A and B, of the same people: AF01NES and BF01NES are F01.
    "KDEF": r"(?:^|/)[AB]([FM]\d{2})(?:AF|AN|DI|HA|NE|SA|SU)(?:S|HL|HR|FL|FR)$",
    "JAFFE": r"(?:^|/)([A-Z]{2})[.\-_](?:AN|DI|FE|HA|NE|SA|SU)\d[.\-_]\d+$",
    "CK+": r"(?:^|/)(S\d{3})_\d{3}_\d{8}$",
    "RaFD": r"(?:^|/)Rafd\d{3}_(\d{2})_[a-z]+_(?:fe)?male_",
    "CFD": r"(?:^|/)CFD-([A-Z]{2}-\d{3})-",
    "MMI": r"(?:^|/)(S\d{3})-\d{3}(?:-\d+)?(?:_\d+)?(?:/|$)",
    "DISFA": r"(?:^|/|_|Video)(SN\d{3})(?!\d)",
    "BU-3DFE": r"(?:^|/)([FM]\d{4})_(?:AN|DI|FE|HA|NE|SA|SU)\d{2}[A-Z]{2}",
    "BU-4DFE": rf"(?:^|/)([FM]\d{{3}})/(?:{_EKMAN})/",
    "BP4D": r"(?:^|/)([FM]\d{3})[/_-]T\d{1,2}(?!\d)",
    "Oulu-CASIA": rf"(?:^|/)(P\d{{3}})/(?:{_EKMAN})/",
    "UNBC-McMaster": r"(?:^|/)([a-z]{2}\d{3})t\d[a-z]{5}\d{3}$",
    "Multi-PIE": r"(?:^|/)(\d{3})_0[1-4]_\d{2}_\d{3}_\d{2}(?:_|$)",
    "RAVDESS": r"(?:^|/)0[1-3](?:-\d{2}){5}-(\d{2})(?:[_/-]|$)",
    "CREMA-D": r"(?:^|/)(1\d{3})_[A-Z]{3}_(?:ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX|X)",
    "ADFES": rf"(?:^|/)([FM]\d{{2}})-(?:{_EKMAN}|joy|contempt|pride|embarrass\w*)(?:-|$)",
    "FACES": r"(?:^|/)(\d{1,3})_[yom]_[fm]_[nasdfh]_[ab]$",
    "NimStim": r"(?:^|/)(\d{2}[FM])_(?:AN|CA|DI|FE|HA|NE|SA|SP|SU)_[COX]$",
    "AR": r"(?:^|/)([mw]-\d{3})-\d{1,2}(?:-\d)?$",
    "FERET": r"(?:^|/)(\d{5})_\d{6}_(?:f[ab]|[pqhr][lrabcde])(?:_|$)",
    "Yale": r"(?:^|/)subject(\d{2})[._](?:centerlight|glasses|happy|leftlight|noglasses|normal|"
    r"rightlight|sad|sleepy|surprised|wink)$",
    "VGGFace2": r"(?:^|/)(n\d{6})/",
    "CASIA-WebFace": r"(?:^|/)(0\d{6})/\d{3}$",
    "MEAD": r"(?:^|/)([MW]\d{3})/(?:video/)?(?:front|down|top|left_\d+|right_\d+)/",
    # Who they are is not said, but frames of one video show the same face.
    "Aff-Wild2": r"(?:^|/)((?:\d+(?:-\d+)?-\d+x\d+|video\d+(?:_\d+)?)(?:_left|_right)?)/\d{5}$",
}
SUBJECTS: dict[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.IGNORECASE) for name, pattern in _PATTERNS.items()
}
# Labeled Faces in the Wild: George_W_Bush_0001, in a folder of his name or not.
_LFW = re.compile(r"(?:^|/)([A-Z][\w.'-]*?(?:_[A-Z][\w.'-]*?)+)_(\d{4})$")
# subject_07/…, person3/…, sub-01_happy: numbered people in anybody's own set. Frames of a numbered
# video show the same people, whoever they are.
_NUMBERED = re.compile(
    r"(?:^|/)(subject|subj|sub|person|participant|actor|actress|speaker|patient|proband|"
    r"volunteer|identity|id|user|vp|video|vid|clip)[ _-]?(\d{1,6})(?=[/ _.-])",
    re.IGNORECASE,
)

_BETWEEN = re.compile(r"[_\-. ]+")


def subject_of(key: str) -> str | None:
    """The person that a key names by a known set's rule, e.g. "KDEF F01"; None if none."""
    for name, pattern in SUBJECTS.items():
        found = pattern.search(key)
        if found:
            return f"{name} {found[1].upper()}"
    found = _LFW.search(key)
    if found and not any(is_common(part) for part in found[1].split("_")):
        return found[1]
    found = _NUMBERED.search(key)
    if found:
        # Two sets may both have a subject 1: the folders above belong to the name.
        word, number = found[1].lower(), found[2]
        return "/".join((*own_folders(key[: found.start() + 1]), f"{word} {int(number)}"))
    return None


def emotion_named_people(keys: Iterable[str]) -> dict[str, str]:
    """Key → person where what stands before an emotion in the files' names is somebody.

    `anna_happy_1`, `anna-sad`, `ben_happy`: it must come with two emotions, and another beside it
    in its folder, or it may be the number of a picture or the name of a set.
    """
    found: dict[str, tuple[str, str]] = {}
    emotions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for key in keys:
        folder, _, stem = key.rpartition("/")
        words = _BETWEEN.split(stem)
        place = next((n for n, word in enumerate(words) if folder_class(word)), 0)
        name = "_".join(words[:place])
        if name and not is_common(name):
            found[key] = folder, name
            emotions[folder, name].add(str(folder_class(words[place])))
    several = {who for who, seen in emotions.items() if len(seen) > 1}
    beside = Counter(folder for folder, _ in several)
    return {
        key: "/".join((*own_folders(key), who[1]))
        for key, who in found.items()
        if who in several and beside[who[0]] > 1
    }


def read_celeba(photos: Path) -> dict[str, str]:
    """File's name without ending → person, by CelebA's own list in the photos folder or below."""
    people: dict[str, str] = {}
    for path in (*photos.glob(CELEBA_LIST), *photos.glob(f"*/{CELEBA_LIST}")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, number = line.strip().partition(" ")
            if number.strip().isdecimal():
                people[PurePosixPath(name).stem] = f"CelebA {number.strip()}"
    return people
