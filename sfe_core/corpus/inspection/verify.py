"""Is every file of a corpus as it was written, and is there any that no row knows of?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from joblib import cpu_count

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import has_pictures
from sfe_core.corpus.artefacts.hashes import parse_made_with
from sfe_core.corpus.artefacts.kinds import ARTEFACTS
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.lock import no_run_at_work
from sfe_core.corpus.manifest_stream import require_manifest, stream_manifest
from sfe_core.errors import RunError
from sfe_core.files import TEMPORARY_MARK, sha256_file
from sfe_core.reporting import Reporter

_FILES_AT_ONCE = 1024


class _Expected(NamedTuple):
    path: Path
    sha256: str | None


@dataclass
class Verification:
    """What was found; paths are below the corpus folder."""

    files: int = 0  # that the manifest knows of
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)  # or unreadable
    orphans: list[str] = field(default_factory=list)  # no row knows of them
    leftovers: list[str] = field(default_factory=list)  # half-written files of a killed run

    @property
    def whole(self) -> int:
        """Files that are as they were written."""
        return self.files - len(self.missing) - len(self.changed)

    def check(self, corpus: Path) -> None:
        """Raise a RunError if a file is missing or changed."""
        if self.missing or self.changed:
            raise RunError(
                corpus,
                f"{len(self.missing)} files are missing and {len(self.changed)} changed",
                "`sfe preprocess` makes missing ones again; delete changed ones first",
            )


def verify_corpus(workspace: Workspace, reporter: Reporter | None = None) -> Verification:
    """Read every artefact of a corpus and compare it with the manifest; changes nothing.

    Args:
        workspace: whose corpus.
        reporter: told of the progress.

    Raises:
        UserError: there is no corpus yet.
        RunError: the manifest is torn, or a run is at work in the corpus.
    """
    corpus, reporter = workspace.corpus, reporter or Reporter()
    found = Verification()
    with no_run_at_work(corpus):
        kinds = _kinds_by_key(corpus / MANIFEST)
        expected = _expected(corpus)
        total = sum(len(parse_made_with(text).keys() & ARTEFACTS) for text in kinds.values())
        with (
            reporter.task("verify the corpus", total) as task,
            ThreadPoolExecutor(cpu_count()) as threads,
        ):
            while some := list(islice(expected, _FILES_AT_ONCE)):
                for one, sha256 in zip(some, threads.map(_hash, some), strict=True):
                    found.files += 1
                    if sha256 != one.sha256 or sha256 is None:
                        faults = found.changed if one.path.exists() else found.missing
                        faults.append(one.path.relative_to(corpus).as_posix())
                task.advance(len(some), f"{len(found.missing) + len(found.changed)} at fault")
        _find_strays(corpus, kinds, found)
    return found


def _kinds_by_key(manifest: Path) -> dict[str, str]:
    """The column `made_with` of every usable row, by key."""
    require_manifest(manifest)
    return {
        row["key"]: sys.intern(row["made_with"] or "")
        for row in stream_manifest(manifest, ("key", "status", "made_with", "inputs_sha256"))
        if has_pictures(row)
    }


def _expected(corpus: Path) -> Iterator[_Expected]:
    columns = [kind.column for kind in ARTEFACTS.values()]
    for row in stream_manifest(corpus / MANIFEST, ["key", "status", "made_with", *columns]):
        if not has_pictures(row):
            continue
        for name in parse_made_with(row["made_with"]):
            if name in ARTEFACTS:
                kind = ARTEFACTS[name]
                yield _Expected(kind.path(corpus, row["key"]), row.get(kind.column))


def _hash(expected: _Expected) -> str | None:
    try:
        return sha256_file(expected.path)
    except OSError:
        return None


def _find_strays(corpus: Path, kinds: dict[str, str], found: Verification) -> None:
    """Files in the artefact folders that no row knows of."""
    for kind in ARTEFACTS.values():
        folder = corpus / kind.folder
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            shown = path.relative_to(corpus).as_posix()
            key = path.relative_to(folder).as_posix().removesuffix(kind.suffix)
            if path.name.startswith(TEMPORARY_MARK):
                found.leftovers.append(shown)
            elif path.suffix != kind.suffix or kind.name not in parse_made_with(kinds.get(key)):
                found.orphans.append(shown)
