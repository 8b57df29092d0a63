"""Which folders are named after people, told from those of classes, splits, dates, shoots, chunks.

Words that are never a person's (emotions, `train`, `images`, dates, names of data sets) are left
out of the paths first, so that `train/anna/happy/1` and `val/anna/2` both lie in `anna`. Whether
the folders that stay beside each other are people is asked of their faces: within a person's
folder they are more alike than across folders. Without that, names alone decide nothing: `anna`
may be a person or a shoot, and the numbers may be people (CASIA-WebFace) or chunks (AffectNet).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.corpus.tables.classes import folder_class, read_name
from sfe_core.files import derive_seed

# The folders above, and each face below them with all its folders.
_Level = tuple[tuple[str, ...], Sequence[tuple[tuple[str, ...], str]]]
Vectors = Mapping[str, Floats]

_WORDS = frozenset(
    """
    train training trainset val valid validation test testing testset dev eval evaluation public
    publictest privatetest fold split part batch chunk shard group subset cv
    image images img imgs photo photos picture pictures pic pics face faces facial portrait
    portraits people person persons subject subjects identity identities actor actors human
    aligned align crop crops cropped original originals orig raw data dataset datasets database db
    jpg jpeg png bmp gif webp rgb color colour gray grey bw lores hires small large hd
    left right front frontal profile side center centre up down camera cam view angle pose
    male female man men woman women boy boys girl girls kid kids child children baby adult adults
    young old elderly asian black white caucasian african indian latino
    indoor outdoor light dark lighting bright session shoot shooting set take day week month
    video videos frame frames clip clips sequence seq movie movies scene
    misc other others new unsorted tmp temp todo done good bad selected best all more backup copy
    dcim camera downloads download desktop export exports output input album albums my the
    expression expressions emotion emotions class label labels annotated manual automatically
    manually annotated basic compound posed spontaneous none
    affectnet raf rafdb fer ferplus expw ck ckplus cohn kanade jaffe kdef akdef rafd cfd disfa
    bp4d bu3dfe bu4dfe mmi oulu casia webface vggface vggface2 lfw celeba celebahq ffhq utkface
    fairface imdb wiki affwild affwild2 afew sfew dfew ferv39k emotic ravdess mead mug nimstim
    feret multipie umdfaces megaface ms1m glint synthetic synthesize
    january february march july september october november december
    """.split()
)
# 2023, 2023-05-12, 20230512_1730, 12.05.2023
_DATE = re.compile(
    r"(?:19|20)\d{2}(?:[-_. ]?[01]\d(?:[-_. ]?[0-3]\d)?)?(?:[-_ T]\d{4,6})?|"
    r"[0-3]?\d[-_.][01]?\d[-_.](?:19|20)?\d{2}"
)
# Takes, which are common as words; numbered, each may be of one person.
_TAKES = "session|shoot|shooting|take|sequence|seq|scene|movie"
# A number, or a letter or two or a take with one: chunks or people alike.
_CODE = re.compile(rf"(?:[a-z]{{0,2}}|{_TAKES})[-_ ]?\d+", re.IGNORECASE)

# Folders that are looked at, and faces in all: a hundred pairs within, some seconds of work.
_FOLDERS, _FACES = 12, 48
_TESTS = 8  # folders whose sub-folders are told by their faces, the largest first
# Fewer pairs within folders say nothing.
_LEAST_PAIRS = 6
# How often a pair within a folder must be nearer than one across; 0.5 is chance. Measured over
# synthetic portraits, four faces of each of four folders: people 0.78 to 0.98 (5 to 95 %), anybody
# 0.60 at most (95 %), a class each 0.83 at most. Words are mostly people; numbers mostly are not.
_NEARER_WORDS, _NEARER_CODES = 0.7, 0.8
# dlib's author clusters faces of one person at this distance (face_clustering.py); folders of
# whole data sets are alike within, too, but not so much.
_SAME_PERSON = 0.5


@dataclass
class Folders:
    """What the folders say.

    Attributes:
        people: key → the person whose folder it lies in.
        by_name: the same by names alone, for folders of too few photos to ask.
        doubtful: folders that may be people's, whose faces could not be asked.
        asked: faces whose vectors decide, whether they are there yet or not.
        tests: how often faces were asked for.
    """

    people: dict[str, str] = field(default_factory=dict)
    by_name: dict[str, str] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tests: int = 0


@lru_cache(maxsize=65536)
def is_common(word: str) -> bool:
    """Whether a folder of that name is none of a person's: a class, split, date, set, `images`."""
    plain = word.strip().lower()
    if folder_class(plain) is not None or read_name(plain) is None or _DATE.fullmatch(plain):
        return True
    if _CODE.fullmatch(plain):
        return False
    parts = [part for part in re.split(r"[^a-z]+", plain) if len(part) > 1]
    whole = re.sub(r"[^a-z0-9]", "", plain)
    return whole in _WORDS or (bool(parts) and all(part in _WORDS for part in parts))


def own_folders(key: str) -> tuple[str, ...]:
    """The folders of a key that may be somebody's."""
    return tuple(part for part in key.split("/")[:-1] if not is_common(part))


def innermost_folders(keys: Sequence[str]) -> dict[str, str]:
    """Key → person where every folder that holds photos is one, as `split.identity: folders` says.

    The person bears the name of all folders above but common ones.
    """
    named = ((key, own_folders(key)) for key in keys)
    return {key: "/".join(folders) for key, folders in named if folders}


def find_people(
    keys: Sequence[str], vectors: Vectors | None, copies: Collection[str] = ()
) -> Folders:
    """Find the folders that are people's.

    Args:
        keys: of faces.
        vectors: of identity, by key, those there are; None where there will be none.
        copies: keys of copies of others, which say nothing of who is alike.
    """
    found = Folders()
    _look(((), [(own_folders(key), key) for key in keys]), vectors, copies, found)
    if not found.doubtful:
        found.people = found.by_name | found.people
    return found


def _look(
    level: _Level, vectors: Vectors | None, copies: Collection[str], found: Folders
) -> bool | None:
    """Judge the sub-folders of a folder, theirs first: `set/anna` and `set/ben` make `set` no one.

    Returns:
        Whether one of them is somebody's; None where the faces cannot be asked yet.
    """
    above, inside = level
    beside: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    for folders, key in inside:
        if len(folders) > len(above):
            beside[folders[len(above)]].append((folders, key))
    below = {
        name: _look(((*above, name), beside[name]), vectors, copies, found)
        for name in sorted(beside, key=lambda name: (-len(beside[name]), name))
    }
    if None in below.values():
        return None
    anybody = any(below.values())
    for codes, least in ((False, _NEARER_WORDS), (True, _NEARER_CODES)):
        groups = {
            name: [key for _, key in some if key not in copies]
            for name, some in beside.items()
            if not below[name] and bool(_CODE.fullmatch(name)) is codes
        }
        sample = _sample(groups) if len(groups) > 1 else []
        if _pairs(sample) < _LEAST_PAIRS:
            # One photo or two in each: words are taken as names, which keeps few together, unless
            # a folder above turns out to be a person's.
            if _pairs(sample) and not codes:
                found.by_name |= {
                    key: "/".join((*above, name)) for name in groups for _, key in beside[name]
                }
            continue
        verdict = _judge(sample, vectors, least, found)
        if verdict is None:
            found.doubtful += ["/".join((*above, name)) for name in groups]
            return None
        if verdict:
            anybody = True
            found.people |= {
                key: "/".join((*above, name)) for name in groups for _, key in beside[name]
            }
    return anybody


def _judge(
    sample: Sequence[Sequence[str]], vectors: Vectors | None, least: float, found: Folders
) -> bool | None:
    """Whether folders beside each other are people's; None where their faces cannot be asked."""
    if found.tests == _TESTS:
        return False
    found.tests += 1
    found.asked += [key for keys in sample for key in keys]
    if vectors is None:
        return None
    known = [[vectors[key] for key in keys if key in vectors] for keys in sample]
    within = [_apart(*pair) for some in known for pair in combinations(some, 2)]
    across = [
        _apart(one, other)
        for some, others in combinations(known, 2)
        for one in some
        for other in others
    ]
    if len(within) < _LEAST_PAIRS or not across:
        return None
    nearer = (np.array(within)[:, None] < np.array(across)[None]).mean()
    return bool(nearer >= least and np.median(within) < _SAME_PERSON)


def _pairs(sample: Sequence[Sequence[str]]) -> int:
    """Pairs of faces of one folder."""
    return sum(len(keys) * (len(keys) - 1) // 2 for keys in sample)


def _sample(groups: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """A few faces of a few folders that hold several; the same ones whatever else is there."""
    order = sorted(groups, key=lambda name: (len(groups[name]) < 2, derive_seed("people", name)))
    chosen = [name for name in order if groups[name]][:_FOLDERS]
    most = max(2, _FACES // max(1, len(chosen)))
    return [
        sorted(groups[name], key=lambda key: derive_seed("people", key))[:most] for name in chosen
    ]


def _apart(one: Floats, other: Floats) -> float:
    return float(np.linalg.norm(one - other))
