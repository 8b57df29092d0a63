"""Action units in a prompt, named as the captions of a workspace name them.

So are those asked that learnt units as text: packages with neither guidance encoders nor a network
for units. Text tells neither left from right nor, but for `action_units`, how strong a unit is.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sfe_core.config.model import Config
from sfe_core.corpus.annotations.captioning import UNIT_SOURCES, read_sources, unit_texts
from sfe_core.corpus.annotations.captions import check_template, hyphenated
from sfe_core.packaging.listing import action_units, guidance_maps
from sfe_core.sampling.sweep import Request, Shot

_TAGS = "tags"


def shots_in_words(
    shots: Sequence[Shot], request: Request, package: Path, config: Config
) -> list[Shot]:
    """The shots, those that ask for units with these in their prompts and drawn from text alone.

    They stay as they are where units are shown otherwise (a face guides or would have to, or a
    network is told, or their words as embeddings) and where captions do not speak of units.
    """
    if request.head or guidance_maps(package) or action_units(package):
        return list(shots)
    return [
        _in_words(shot, config) if shot.guided and shot.like is None and not shot.embedded else shot
        for shot in shots
    ]


def _in_words(shot: Shot, config: Config) -> Shot:
    asked = shot.expression.unit_intensities() if shot.expression else {}
    prompt = prompt_with_units(
        shot.prompt, {code: max(sides) for code, sides in asked.items()}, config
    )
    return shot if prompt is None else replace(shot, prompt=prompt, guided=False)


def prompt_with_units(prompt: str, units: Mapping[str, float], config: Config) -> str | None:
    """A prompt and behind it units.

    Args:
        prompt: what else is to be drawn.
        units: code → intensity 0 to 5; none leave the prompt as it is. All that shall not show are
            named as such where captions name some.
        config: of the workspace.

    Returns:
        None where its captions do not speak of units.

    Raises:
        UserError: the workspace's sources or template of captions are wrong.
    """
    way = _way_of_units(config)
    if way is None:
        return None
    absent = len(units) if config.captions.absent_units else 0
    settings = config.captions.model_copy(update={"absent_units": absent})
    texts = unit_texts(units, settings, prompt)
    if way == _TAGS:
        return ",".join(text for text in (prompt, hyphenated(texts["unit_names"])) if text)
    return ", ".join(text for text in (prompt.rstrip(" ,.;"), texts[way]) if text)


def _way_of_units(config: Config) -> str | None:
    """The first source of captions that speaks of units; of a template, its first placeholder."""
    template = check_template(config.preprocess.caption_template)
    held = [name for _, name, _, _ in string.Formatter().parse(template)]
    for source in (name for part in read_sources(config.captions.sources) for name in part):
        ways = held if source == "template" else [source]
        found = next((name for name in ways if name in (*UNIT_SOURCES, _TAGS)), None)
        if found:
            return found
    return None
