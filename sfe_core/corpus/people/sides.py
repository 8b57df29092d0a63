"""Which faces stand together, and on which side of the split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sfe_core.config.corpus_sections import SplitConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.labels import Label
from sfe_core.corpus.people.albums import albums_of
from sfe_core.corpus.people.duplicates import Duplicates, HashedFace, find_duplicates
from sfe_core.corpus.people.face_vectors import can_embed, read_vectors
from sfe_core.corpus.people.identities import People, find_identities
from sfe_core.corpus.people.splits import SplitItem, assign_splits, held_out_count
from sfe_core.errors import UserError

# The held-out split is said to miss its size where it misses this share of it, and more faces.
_MISSED_SHARE, _MISSED_FACES = 0.3, 2


@dataclass(frozen=True)
class Sides:
    """The splits, and what they keep together.

    Attributes:
        splits: of the usable faces, by key.
        people: whose they are.
        duplicates: copies among them.
        contradictions: copies with different emotions, in words.
        notes: what else is to be known of the splits, in words.
    """

    splits: Mapping[str, str]
    people: People
    duplicates: Duplicates
    contradictions: tuple[str, ...]
    notes: tuple[str, ...]


def choose_sides(
    workspace: Workspace,
    faces: Sequence[HashedFace],
    labels: Mapping[str, Label],
    celeba: Mapping[str, str],
) -> Sides:
    """Find people and copies, and share out the splits.

    Args:
        workspace: whose corpus.
        faces: the usable ones.
        labels: by key.
        celeba: people by CelebA's list, see `read_celeba`.

    Raises:
        UserError: faces are to be clustered, and what does it is not installed.
    """
    duplicates = find_duplicates(faces, workspace.config.split.copies)
    labelled = {key: label.identity for key, label in labels.items() if label.identity}
    people = _people(workspace, faces, labelled, celeba, duplicates)
    emotions = {key: label.emotion for key, label in labels.items()}
    items = [SplitItem(face.key, people.of.get(face.key), emotions.get(face.key)) for face in faces]
    # Others in a photo of somebody known stand with him: the crops may show him too.
    beside = [
        (face.key.rpartition("#")[0], face.key)
        for face in faces
        if face.number > 1 and face.key not in people.of
    ]
    if workspace.config.split.by == "photos":
        splits, notes = _split_albums(workspace.config.split, items, [*duplicates.groups, *beside])
    else:
        splits, notes = _split(workspace.config.split, items, (duplicates, beside), labelled)
    contradictions = tuple(duplicates.contradictions(emotions))
    if workspace.config.split.by == "people" and (advice := people.advice()):
        notes.append(advice)
    named = duplicates.contradictions(labelled)
    if named:
        notes.append(f"{len(named)} photos stand under the names of two people ({named[0]})")
    return Sides(splits, people, duplicates, contradictions, tuple(notes))


def _people(
    workspace: Workspace,
    faces: Sequence[HashedFace],
    labelled: Mapping[str, str],
    celeba: Mapping[str, str],
    duplicates: Duplicates,
) -> People:
    config = workspace.config.split
    if config.identity == "clusters" and not can_embed():
        raise UserError(
            "split.identity: clusters",
            "dlib or its weights are not on this machine",
            "pip install 'sfe[offline]', or choose auto",
        )
    named = ((face.key, celeba.get(face.key.rpartition("/")[2])) for face in faces)
    listed = {key: person for key, person in named if person}
    asks = config.identity in ("auto", "clusters")
    vectors = read_vectors(workspace, faces) if asks else None
    return find_identities(config, faces, labelled, listed, duplicates, vectors)


def _split(
    config: SplitConfig,
    items: Sequence[SplitItem],
    together: tuple[Duplicates, Sequence[tuple[str, str]]],
    labelled: Mapping[str, str],
) -> tuple[dict[str, str], list[str]]:
    """The split of every key, and what is to be said of it.

    Args:
        config: gives name and size.
        items: the faces.
        together: copies, and pairs of keys that stand on one side too.
        labelled: key → person, by labels.csv.
    """
    duplicates, beside = together
    name = config.validation_name
    size = config.validation_count, config.validation_fraction
    splits = assign_splits(items, name, *size, [*duplicates.groups, *beside])
    wanted = held_out_count(len(items), *size)
    if wanted and name not in splits.values():
        apart = assign_splits(items, name, *size, [*_by_person(duplicates, labelled), *beside])
        if name in apart.values():
            return apart, [
                "copies that labels.csv gives to different people stand on both sides: "
                "without them nothing would be held out"
            ]
    return splits, _size_notes(splits, wanted, name, items)


def _split_albums(
    config: SplitConfig, items: Sequence[SplitItem], together: Sequence[Sequence[str]]
) -> tuple[dict[str, str], list[str]]:
    """The same where people do not stay whole: of each album, some photos are held out."""
    by_key = {item.key: item for item in items}
    splits: dict[str, str] = {}
    notes = []
    for person, keys in albums_of(by_key).items():
        album = [replace(by_key[key], identity=None) for key in keys]
        size = config.validation_count, config.validation_fraction
        splits |= assign_splits(album, config.validation_name, *size, together)
        if config.validation_name not in {splits[key] for key in keys}:
            whose = f"the album of {person}" if person else "the album"
            notes.append(
                f"nothing of {whose} is held out: {len(keys)} photos, all copies of one another"
                if len(keys) > 1
                else f"nothing of {whose} is held out: it has one usable photo"
            )
    return splits, notes


def _by_person(duplicates: Duplicates, labelled: Mapping[str, str]) -> list[list[str]]:
    """The groups of copies, each taken apart by whose they are said to be."""
    parts: list[list[str]] = []
    for group in duplicates.groups:
        by_person: dict[str, list[str]] = defaultdict(list)
        for key in group:
            if key in labelled:
                by_person[labelled[key]].append(key)
        first, *others = list(by_person.values()) or [[]]
        parts += [first + [key for key in group if key not in labelled], *others]
    return parts


def _size_notes(
    splits: Mapping[str, str], wanted: int, name: str, items: Sequence[SplitItem]
) -> list[str]:
    """Why the held-out split is not of its size, if it is not."""
    held = sum(split == name for split in splits.values())
    missed = abs(held - wanted) > max(_MISSED_FACES, _MISSED_SHARE * wanted)
    if not wanted or (held and not missed):
        return []
    faces = Counter(item.identity for item in items if item.identity).most_common(1)
    who = "".join(f"; the largest is {person} with {count} faces" for person, count in faces)
    if held:
        return [f"{held} faces are held out instead of {wanted}: people and copies stay whole{who}"]
    return [
        f"nothing is held out: people and copies stay whole, and all faces belong together{who}; "
        "add photos of others, or set split.identity or split.copies to none"
    ]
