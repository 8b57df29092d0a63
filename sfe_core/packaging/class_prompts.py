"""The prompt that shows an expression on anyone, for packages that fuse it with their person."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.config.layers import read_layer
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captions import without_token
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import SfeError
from sfe_core.packaging.listing import RUN_CONFIG, has_fusion

_EMOTION = re.compile(rf"\b(?:{'|'.join(EMOTIONS)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class ClassPrompts:
    """How a package's person is called, and what kind they are."""

    token: str
    class_word: str

    def of(self, prompt: str, told: bool = False) -> str:
        """A prompt with the person's token left out; "" where there is nothing to fuse.

        Args:
            prompt: as given to the sampler.
            told: an expression is told beside it; else one of its words must be an emotion.

        >>> names = ClassPrompts("sks", "woman")
        >>> names.of("photo of sks woman, happy"), names.of("photo of sks woman")
        ('photo of a woman, happy', '')
        >>> names.of("photo of sks woman", told=True), names.of("photo of a woman, happy")
        ('photo of a woman', '')
        """
        anyone = without_token(prompt, self.token, self.class_word)
        shows = told or _EMOTION.search(anyone) is not None
        return anyone if shows and anyone != prompt.strip() else ""


def class_prompts(package: Path, workspace: Workspace) -> ClassPrompts | None:
    """Of a package that fuses, as its run has it or else the workspace; None: of another one.

    None too where `sampling.fusion_strength` is 0: pictures are then those without fusion.
    """
    if not has_fusion(package) or workspace.config.sampling.fusion_strength == 0:
        return None
    captions, person = workspace.config.captions, workspace.config.data.person
    said: Mapping[str, Any] = captions.model_dump()
    try:
        run = read_layer(package / RUN_CONFIG, RUN_CONFIG).values
    except SfeError:  # a package of anybody's
        run = {}
    said = {**said, **(run.get("captions") or {})}
    person = (run.get("data") or {}).get("person") or person or ""
    kind = said["class_words"].get(person, said["class_word"])
    return ClassPrompts(said["token"], kind) if said["token"] else None
