"""Draws and batches of an update speak of the same images."""

from __future__ import annotations

from types import SimpleNamespace

from sfe_core.config.stableface_sections import LossConfig, TrainConfig
from sfe_core.config.training_sections import DataConfig
from sfe_core.corpus.sampler import DeterministicSampler
from sfe_core.corpus.views import Variation, View
from sfe_core.recipes.stableface import StableFace
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.update import wanted_batches


def session(step: int = 0, process: int = 0, processes: int = 1, **data: float) -> Session:
    """What the two functions look at: 10 faces, 3 updates of 8 images."""
    face = {
        "sampler": DeterministicSampler(10, seed=5),
        "dataset": SimpleNamespace(
            keys=[f"face{number}" for number in range(10)],
            variation=Variation.of(DataConfig(**data)),
        ),
        "config": SimpleNamespace(train=TrainConfig(seed=5), loss=LossConfig()),
        "objective": SimpleNamespace(timesteps=1000, window=None),
    }
    recipe = StableFace(**dict.fromkeys(StableFace.__dataclass_fields__) | face)
    plan = SimpleNamespace(
        effective_batch=8,
        batch_size=2,
        processes=processes,
        steps=3,
        images_before=lambda update: 8 * update,
    )
    known = {
        "step": step,
        "plan": plan,
        "accelerator": SimpleNamespace(process_index=process),
        "recipe": recipe,
    }
    fields = Session.__dataclass_fields__
    return Session(**dict.fromkeys(fields) | known | {"_drawn": {}})


def test_slots_are_of_the_batches_images_in_order():
    batches = list(wanted_batches(session(flip=0.5)))
    assert [len(slots) for slots in batches] == [2] * 12
    for step in range(3):
        drawn = session(step, flip=0.5).draws(step)
        assert drawn == [slot for batch in batches[4 * step : 4 * step + 4] for slot in batch]
    mirrored = {slot.view.mirrored for batch in batches for slot in batch}
    assert mirrored == {False, True}


def test_views_follow_from_the_update_not_from_the_layout_or_an_interruption():
    settings = {"flip": 0.5, "crop_least": 0.8}
    alone = list(wanted_batches(session(**settings)))
    pairs = [list(wanted_batches(session(0, number, 2, **settings))) for number in range(2)]
    dealt = [batch for both in zip(*pairs, strict=True) for batch in both]
    assert dealt == alone
    assert list(wanted_batches(session(1, **settings))) == alone[4:]


def test_without_variation_every_view_is_the_plain_one():
    views = [slot.view for batch in wanted_batches(session()) for slot in batch]
    assert all(view == View(view.place) for view in views)
    assert sorted(view.place for view in views[:10]) == list(range(10))
