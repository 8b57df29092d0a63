"""One batch through the whole loss: every term reaches the UNet and every guidance encoder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sfe_core.config.stableface_sections import LossConfig
from sfe_core.corpus.dataset import FaceDataset, collate
from sfe_core.corpus.reader import Corpus
from sfe_core.corpus.views import View
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.loading import load_base
from sfe_core.diffusion.noise_schedule import set_schedule
from sfe_core.losses.composite import CRAFTING_TERMS, TERMS, CompositeLoss
from sfe_core.recipes.shared.draws import Slot, draw_noise
from sfe_core.recipes.stableface import (
    UpdateCounts,
    batch_loss,
    build_composite,
    build_model,
    build_objective,
)
from sfe_core.training.batches.data import encode
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.diffusion.test_pixel_decoder import save_tiny
from tests.tiny import make_tiny_workspace

TIMES = (50, 300, 700)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, tiny_base):
    """One for all: no test here writes into it."""
    return make_tiny_workspace(tmp_path_factory.mktemp("step"), tiny_base)


@pytest.fixture(scope="module")
def plain_totals(workspace) -> dict[str, torch.Tensor]:
    """Each term alone by its default kind, with awake encoders."""
    totals = {}
    for term in {term for term, _ in VARIANTS.values()}:
        bench = Bench(workspace, term)
        bench.wake_bank()
        with torch.no_grad():
            totals[term] = bench.terms().total
    return totals


def only(term: str) -> dict[str, float]:
    """Loss weights with one term on."""
    return {name: float(name == term) for name in TERMS}


def slots(**changes) -> list[Slot]:
    plain = {"drop_caption": False, "drop_guidance": False, "decode": True, "noise_seed": 11}
    return [Slot(View(index), time, **(plain | changes)) for index, time in enumerate(TIMES)]


class Bench:
    """A model, its data and its loss, to run one batch after another."""

    def __init__(self, workspace, term: str, **sections: dict) -> None:
        loss = only(term) | sections.pop("loss", {})
        config = with_settings(workspace, loss=loss, **sections).config
        self.base = load_base(config.model.base)
        self.base.scheduler = set_schedule(self.base.scheduler, config.model)
        for part in (self.base.vae, self.base.text_encoders["text_encoder"]):
            part.requires_grad_(False)
        self.model = build_model(config, self.base)
        self.composite = build_composite(config)
        dataset = FaceDataset(Corpus.open(workspace), "train", config.guidance.maps, 32)
        self.batch = encode(collate([dataset[i] for i in range(3)]), Encoders(self.base.folder))
        empty = SimpleNamespace(empty_text=self.base.no_text().states, empty_pooled=None)
        self.objective = replace(
            build_objective(config, self.base, self.composite, dataset, empty, torch.device("cpu")),
            snr_gamma=5.0,
        )

    def wake_bank(self) -> None:
        """Move the zero-initialised convolutions off zero, as training does."""
        torch.manual_seed(0)
        for encoder in self.model.bank.encoders.values():
            nn.init.normal_(encoder.conv_out.weight, std=0.05)

    def terms(self, drawn=None, composite=None):
        drawn = drawn or slots()
        counts = UpdateCounts(3, sum(slot.decode for slot in drawn))
        objective = replace(self.objective, composite=composite or self.composite)
        return batch_loss(self.model, objective, self.batch, drawn, counts)


def gradient(module: nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("term", [name for name in TERMS if name not in CRAFTING_TERMS])
def test_each_term_trains_unet_and_every_encoder(workspace, term):
    bench = Bench(workspace, term)
    bench.terms().total.backward()
    assert gradient(bench.model.unet.conv_in) > 0 and gradient(bench.model.unet.up_blocks) > 0
    for encoder in bench.model.bank.encoders.values():
        # Behind a convolution of zeros nothing else can have gradient yet.
        assert gradient(encoder.conv_out) > 0 and gradient(encoder.conv_in) == 0
    bench.model.zero_grad()
    bench.wake_bank()
    bench.terms().total.backward()
    for name, encoder in bench.model.bank.encoders.items():
        for part in ("conv_in", "blocks", "conv_out"):
            assert gradient(getattr(encoder, part)) > 0, (name, part)
        assert gradient(encoder.attentions[-1]) > 0, name
    frozen = (bench.base.vae, bench.base.text_encoders["text_encoder"], bench.composite)
    assert not any(p.grad is not None for module in frozen for p in module.parameters())


V_PREDICTION = {"model": {"prediction": "v_prediction", "zero_terminal_snr": True}}
VARIANTS = {
    "l2": ("noise", {"loss": {"noise_loss": "l2"}}),
    "huber": ("noise", {"loss": {"noise_loss": "huber"}}),
    "v": ("noise", V_PREDICTION),
    "v pixels": ("perceptual", V_PREDICTION),
    "kl": ("expression", {"loss": {"expression_loss": "kl"}}),
    "cross-entropy": ("expression", {"loss": {"expression_loss": "cross-entropy"}}),
    "label": ("valence", {"loss": {"emotion_target": "label"}}),
    "chunks": ("features", {"loss": {"decode_chunk": 2}}),
    "noise": ("noise", {"train": {"noise_offset": 0.1, "input_perturbation": 0.1}}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_trains_unet_and_every_encoder(workspace, plain_totals, variant):
    term, sections = VARIANTS[variant]
    bench = Bench(workspace, term, **{name: dict(values) for name, values in sections.items()})
    bench.wake_bank()
    terms = bench.terms()
    terms.total.backward()
    assert gradient(bench.model.unet.conv_in) > 0 and gradient(bench.model.unet.up_blocks) > 0
    for name, encoder in bench.model.bank.encoders.items():
        assert gradient(encoder.conv_in) > 0 and gradient(encoder.conv_out) > 0, name
    if variant == "chunks":  # memory alone differs
        torch.testing.assert_close(terms.total.detach(), plain_totals[term])
    else:
        assert (terms.total - plain_totals[term]).abs() > 1e-4


def test_a_tiny_decoder_stands_in_for_the_full_one(workspace, tmp_path):
    folder = str(save_tiny(tmp_path / "taesd"))
    bench = Bench(workspace, "perceptual", loss={"pixel_decoder": folder})
    bench.terms().total.backward()
    assert gradient(bench.model.unet) > 0
    # The full decoder plays no part then.
    bench.base.vae.decode = None
    bench.terms()


def test_perturbed_latents_leave_the_target_alone(workspace):
    bench = Bench(workspace, "noise", train={"input_perturbation": 0.5})
    seen = {}

    class Oracle(nn.Module):
        def forward(self, noisy, timesteps, text, maps, keep, added, conditions):
            seen["noisy"] = noisy
            return draw_noise(slots(), noisy.shape[1:])[1]

    bench.model = Oracle()
    assert bench.terms().raw["noise"] == 0
    bench.objective = replace(bench.objective, input_perturbation=0.0)
    perturbed = seen["noisy"]
    bench.terms()
    spread = (1 - bench.objective.alphas[list(TIMES)]).sqrt().view(-1, 1, 1, 1)
    extra = (perturbed - seen["noisy"]) / spread / 0.5
    assert (extra.std() - 1).abs() < 0.15


def test_a_late_timestep_counts_less_in_the_gradient(workspace):
    bench = Bench(workspace, "perceptual")
    full = bench.terms(slots(pixel_weight=1.0)).total
    half = bench.terms(slots(pixel_weight=0.5)).total
    torch.testing.assert_close(half, 0.5 * full)


@pytest.mark.parametrize("term", ["noise", "perceptual", "valence"])
def test_a_step_down_the_gradient_lowers_the_term(workspace, term):
    bench = Bench(workspace, term)
    before = bench.terms().total
    before.backward()
    weights = [p for p in bench.model.parameters() if p.grad is not None]
    length = sum(p.grad.square().sum() for p in weights)
    with torch.no_grad():
        for parameter in weights:
            # A step that lowers a linear function by one thousandth of its value.
            parameter -= 1e-3 * before * parameter.grad / length
        assert bench.terms().total < before


def test_dropped_guidance_leaves_encoders_without_gradient(workspace):
    bench = Bench(workspace, "noise")
    bench.wake_bank()
    bench.terms(slots(drop_guidance=True)).total.backward()
    assert gradient(bench.model.bank) == 0 and gradient(bench.model.unet) > 0


def test_a_dropped_caption_is_the_empty_one(workspace):
    bench = Bench(workspace, "noise")
    dropped = bench.terms(slots(drop_caption=True)).total
    assert dropped != bench.terms().total
    bench.batch.text = bench.objective.empty_text.expand_as(bench.batch.text)
    assert torch.equal(bench.terms().total, dropped)


def test_only_chosen_images_are_decoded(workspace, monkeypatch):
    bench = Bench(workspace, "perceptual")
    decoded = []
    original = bench.base.vae.decode
    monkeypatch.setattr(
        bench.base.vae, "decode", lambda z, *a, **k: decoded.append(len(z)) or original(z, *a, **k)
    )
    bench.terms([*slots()[:1], *slots(decode=False)[1:]])
    terms = bench.terms(slots(decode=False))
    assert decoded == [1]
    assert terms.raw == {}


def test_a_perfect_prediction_costs_nothing_but_the_autoencoder(workspace):
    bench = Bench(workspace, "perceptual")

    class Oracle(nn.Module):
        """Knows the noise, from the same seed as the step."""

        def forward(self, noisy, timesteps, text, maps, keep, added, conditions):
            from sfe_core.recipes.shared.draws import draw_noise

            return draw_noise(slots(), noisy.shape[1:])[1]

    bench.model = Oracle()
    both = CompositeLoss(
        LossConfig(noise=1.0, perceptual=1.0, valence=0, arousal=0, expression=0),
        perceptual=lambda_module(lambda a, b: (a - b).abs().mean(dim=(1, 2, 3))),
    )
    terms = bench.terms(composite=both)
    assert terms.raw["noise"] == 0
    noise = torch.stack([torch.randn(2, 4, 8, 8, generator=seeded(11)) for _ in TIMES])[:, 0]
    latents = bench.batch.latent_mean + bench.batch.latent_std * noise
    with torch.no_grad():
        rebuilt = bench.base.vae.decode(latents).sample
    expected = (rebuilt - bench.batch.images).abs().mean()
    assert terms.raw["perceptual"].item() == pytest.approx(expected.item(), rel=1e-3)


def lambda_module(function) -> nn.Module:
    module = nn.Module()
    module.forward = function
    return module


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Given(nn.Module):
    """A prediction that is a parameter, whatever is asked."""

    def __init__(self) -> None:
        super().__init__()
        values = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        self.prediction = nn.Parameter(values)

    def forward(self, *_, **__) -> torch.Tensor:
        return self.prediction


LEFT_HALF = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def test_latents_of_repeated_border_teach_no_noise(workspace):
    bench = Bench(workspace, "noise")
    whole = bench.batch.areas
    bench.model = Given()
    results = []
    for areas in (None, whole, torch.stack([LEFT_HALF, whole[1], whole[2]])):
        bench.batch.areas = areas
        bench.model.zero_grad()
        terms = bench.terms()
        terms.total.backward()
        results.append((terms.total.detach(), bench.model.prediction.grad.clone()))
    # Pictures that are all photo lose what they did before, to the bit.
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    before, after = results[1][1], results[2][1]
    assert (after[0, :, :, 4:] == 0).all()
    assert torch.equal(after[0, :, :, :4], before[0, :, :, :4])
    assert torch.equal(after[1:], before[1:])


@pytest.mark.parametrize("term", ["perceptual", "features"])
def test_repeated_border_in_the_photo_changes_no_pixel_term(workspace, term):
    bench = Bench(workspace, term)
    bench.batch.areas = LEFT_HALF.expand(3, 2, 3)
    before = bench.terms().total
    bench.batch.images = bench.batch.images.clone()
    bench.batch.images[..., 16:] = -1.0
    assert torch.equal(bench.terms().total, before)
    bench.batch.areas = None
    assert not torch.equal(bench.terms().total, before)
