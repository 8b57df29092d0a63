"""emotion_results.csv: StableFaceEmotion's own table, for whoever has scripts that read it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.metrics import ranks_of
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics import recognition
from sfe_core.evaluation.yardstick import Labels
from sfe_core.sampling.prompts import clean_prompt

FIRST = 3
EMONET = "emonet"  # the recogniser that the original's table is of


def original_table(
    rows: pd.DataFrame, labels: Labels, readings: Mapping[str, Readings]
) -> pd.DataFrame | None:
    """One row per picture with the original's columns, in its order and its meaning.

    `file, prompt, gt`, then per set (orig, base, fine) `_top1.._top3, _val, _aro` and, of drawn
    sets, `_rank`: the place of the asked emotion, 0 beyond the third. `same_top1`: base and fine
    are seen alike; `same_top3`: their first three have an emotion in common. Read by EmoNet where
    it is among the recognisers, else by the judge. Rows without a label or a picture are left out.

    Returns:
        None where base or fine-tuned pictures are missing; fine is guided, else fine, else text.
    """
    tuned = next((name for name in ("guided", "fine", "text") if name in readings), None)
    if tuned is None or not {"base", "real"} <= readings.keys():
        return None
    chosen = {"orig": readings["real"], "base": readings["base"], "fine": readings[tuned]}
    recognisers = readings["real"].recognisers
    reader = next((name for name in recognisers if EMONET in name.lower()), recognisers[0])
    names = np.array(EMOTIONS, dtype=object)
    prompts = [clean_prompt(text) if isinstance(text, str) else "" for text in rows["caption"]]
    columns: dict[str, object] = {
        "file": rows["key"].to_numpy(),
        "prompt": prompts,
        "gt": names[labels.emotion],
    }
    firsts = {}
    for prefix, read in chosen.items():
        firsts[prefix] = recognition.order(read.column(reader, "logits"))[:, :FIRST]
        for k in range(FIRST):
            columns[f"{prefix}_top{k + 1}"] = names[firsts[prefix][:, k]]
        columns[f"{prefix}_val"] = read.column(reader, "valence").clip(-1.0, 1.0)
        columns[f"{prefix}_aro"] = read.column(reader, "arousal").clip(-1.0, 1.0)
        if prefix != "orig":
            rank = np.nan_to_num(ranks_of(read, reader, labels))
            columns[f"{prefix}_rank"] = np.where(rank <= FIRST, rank, 0).astype(int)
    base, fine = firsts["base"], firsts["fine"]
    columns["same_top1"] = (base[:, 0] == fine[:, 0]).astype(int)
    columns["same_top3"] = (base[:, :, None] == fine[:, None, :]).any(axis=(1, 2)).astype(int)
    complete = (labels.emotion >= 0) & np.all([read.valid for read in chosen.values()], axis=0)
    return pd.DataFrame(columns)[complete]
