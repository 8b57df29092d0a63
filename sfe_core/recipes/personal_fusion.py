"""Attention-focused fusion in the personal recipe: what its second pass reads, and its loss.

Of an image of the album the second pass reads the caption with the person's token left out ("photo
of a woman, happy"), with the same expression told behind it where embeddings tell it; the mask lies
around the photo's landmarks. Class pictures, and captions that are dropped, are not fused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sfe_core.config.model import Config
from sfe_core.corpus.annotations.captioning import class_word_of
from sfe_core.corpus.annotations.captions import without_token
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_fusion import ExpressionFusion, FusedSkip
from sfe_core.diffusion.families.contract import Texts
from sfe_core.diffusion.fused_passes import expression_fused
from sfe_core.diffusion.fused_unet import FusedUNet, FusionConditions
from sfe_core.diffusion.guidance_files import FUSION_FOLDER
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.prediction import add_noise
from sfe_core.faces.expression_mask import expression_mask
from sfe_core.files import derive_seed
from sfe_core.losses.composite import Fused
from sfe_core.losses.crafting import alignment_loss
from sfe_core.recipes.shared.draws import Slot, draw_noise
from sfe_core.recipes.stableface import StableFace
from sfe_core.training.network import Network

_RATE = 10.0  # times train.learning_rate: gates start at 0, and are to come near 1 within a run
_CALIBRATED_ON = 4  # photos


def with_fusion(model: GuidedUNet) -> FusedUNet:
    """Networks without weights, fusion among them.

    Raises:
        UserError: the UNet has no skips to fuse.
    """
    with torch.device("meta"):
        fusion = ExpressionFusion.beside(model.unet)
    return FusedUNet(model.unet, model.bank, model.text_encoder, fusion=fusion)


def fusion_network(config: Config, rate: float | None) -> Network:
    """How it is saved, and its rate: Prodigy finds one for all networks."""
    usual = None if config.train.optimiser == "prodigy" else _RATE * config.train.learning_rate
    return Network(FUSION_FOLDER, "fusion", "fusion", rate or usual)


def fresh_fusion(face: StableFace) -> ExpressionFusion:
    """Gates at 0, on the device of the UNet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(face.config.train.seed, "fusion") % 2**32)
        made = ExpressionFusion.beside(face.model.unet, timesteps=face.objective.timesteps)
    return made.to(face.model.unet.device)


@dataclass
class FusionTraining:
    """What the second pass reads of an album.

    Attributes:
        fusion: that trains.
        dataset: the album.
        prompts: distinct class prompts, encoded, on the device.
        rows: of these, by place in the data set.
    """

    fusion: ExpressionFusion
    dataset: FaceDataset
    prompts: Texts
    rows: Sequence[int]

    @classmethod
    def of(cls, fusion: ExpressionFusion, face: StableFace, dataset: FaceDataset) -> FusionTraining:
        """Encode a data set's class prompts; the encoders are loaded for that alone."""
        config, base = face.config, face.base
        captions, kind = config.captions, class_word_of(config.captions, config.data.person or "")
        texts = [without_token(one, captions.token, kind) for one in dataset.captions]
        distinct = list(dict.fromkeys(texts))
        device = face.objective.alphas.device
        encoders = Encoders(base.folder, device, config.train.text_encoder, base.new_tokens)
        prompts = encoders.texts(distinct)
        encoders.release()
        return cls(fusion, dataset, prompts, [distinct.index(text) for text in texts])

    def fuses(self, slot: Slot | None) -> bool:
        """Whether an image's features are fused; None: a class picture."""
        if slot is None or slot.drop_caption:
            return False
        return bool(self.fusion.window(torch.tensor(slot.timestep)) > 0)

    def conditions(
        self, slots: Sequence[Slot | None], told: Tensor | None, size: tuple[int, int]
    ) -> FusionConditions:
        """What the model is told of B images.

        Args:
            slots: of the album's images; None: a class picture.
            told: [B, E] on the device, expressions that embeddings tell; None: captions do.
            size: H and W of their latents.
        """
        device = self.prompts.states.device
        rows = torch.tensor([0 if slot is None else self.rows[slot.index] for slot in slots])
        rows = rows.to(device, non_blocking=True)
        masks = torch.cat([self._mask(slot, size) for slot in slots])
        pooled = None if self.prompts.pooled is None else self.prompts.pooled[rows]
        masks = masks.to(device, non_blocking=True)
        return FusionConditions(self.prompts.states[rows], pooled, masks, told)

    def _mask(self, slot: Slot | None, size: tuple[int, int]) -> Tensor:
        if slot is None or slot.drop_caption:
            return torch.zeros(1, 1, *size)
        return expression_mask(self.dataset.points(slot.view)[None], size)

    def aligned(
        self, seen: Sequence[FusedSkip], slots: Sequence[Slot | None], update: Iterable[Slot | None]
    ) -> Fused:
        """The alignment loss of a batch's fused images, a mean over the skips.

        Args:
            seen: of the call that predicted the batch.
            slots: of the batch's images, in its order.
            update: of all images of the update.
        """
        chosen = [place for place, slot in enumerate(slots) if self.fuses(slot)]
        count = sum(map(self.fuses, update))
        errors = [
            alignment_loss(
                one.fused[chosen], one.expression[chosen], one.full[chosen], one.mask[chosen]
            )
            for one in seen
        ]
        return Fused(torch.stack(errors).mean(dim=0), count)

    def drawing(
        self, model: FusedUNet, keys: Sequence[str], told: Tensor | None, size: tuple[int, int]
    ) -> AbstractContextManager[Any]:
        """Within it, a pipeline around the model's UNet fuses what it draws of photos by key.

        Args:
            told: see `conditions`.
            size: the same.
        """
        slots = [
            Slot(View(self.dataset.keys.index(key)), 0, False, False, False, 0) for key in keys
        ]
        asked = model.class_prompt(self.conditions(slots, told, size))
        assert model.fusion is not None
        return expression_fused(model.unet, model.fusion, asked)

    def calibrate(self, face: StableFace, told: Tensor | None) -> None:
        """Set the temperatures by the first photos, noised to the middle of the window.

        Args:
            told: [N, E], expressions of the first photos; None: captions tell them.
        """
        model, objective = face.model, face.objective
        assert isinstance(model, FusedUNet)
        device = objective.alphas.device
        middle = int(sum(self.fusion.config["window"]) / 2 * objective.timesteps)
        seed = face.config.train.seed
        slots = [
            Slot(View(place), middle, False, False, False, derive_seed(seed, "calibrate", place))
            for place in range(min(_CALIBRATED_ON, len(self.dataset)))
        ]
        batch = next(iter(face.source.batches([[slot.view for slot in slots]]))).to(device)
        clean = batch.latent_mean * objective.latent_scale
        noise = draw_noise(slots, clean.shape[1:])[1].to(device)
        times = torch.full((len(slots),), middle, device=device)
        noisy = add_noise(clean, noise, objective.alphas, times)
        texts = Texts(batch.text, batch.pooled)
        told = None if told is None else told[: len(slots)].to(device)
        conditions = self.conditions(slots, told, (noisy.shape[2], noisy.shape[3]))
        added = objective.family.added_conditions(texts, batch.time_ids)
        # Skips are told of only where gradients are wanted; without any no graph takes memory.
        with torch.enable_grad(), _frozen(model):
            model(noisy, times, texts.states, added=added, conditions=conditions)
        self.fusion.calibrate(model.seen)
        model.seen = []


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def first_shown(dataset: FaceDataset) -> Sequence[int]:
    """Places in EMOTIONS of what the photos to calibrate on show, -1 where unknown."""
    return dataset.emotions[:_CALIBRATED_ON].tolist()
