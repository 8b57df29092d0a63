"""Drawing with a rig: published steps, clipping, seeds, schedulers, its folder."""

from __future__ import annotations

import pytest
import torch

from sfe_core.diffusion.physical.loading import load_rig, rig_config
from sfe_core.diffusion.physical.pipeline import (
    RigPipeline,
    load_rig_pipeline,
    make_scheduler,
    training_schedule,
)
from sfe_core.errors import UserError
from tests.sfe_core.diffusion.physical.rigs import inputs, small_rig

SAMPLERS = ("ddim", "dpm-solver++")


def pipeline(sampler="ddim") -> RigPipeline:
    made = RigPipeline(small_rig(), make_scheduler(sampler))
    made.set_progress_bar_config(disable=True)
    return made


class KnowsThePicture(torch.nn.Module):
    """Stands in for a rig: the noise in a picture that it knows by heart."""

    def __init__(self, picture: torch.Tensor, says: str = "epsilon") -> None:
        super().__init__()
        self.picture, self.config = picture, {"image_size": picture.shape[-1], "prediction": says}
        self.device, self.dtype, self.times = torch.device("cpu"), torch.float32, []
        self.alphas = training_schedule().alphas_cumprod

    def forward(self, noisy, timesteps, buffers, codes):
        self.times.append(int(timesteps[0]))
        alpha = self.alphas[timesteps].view(-1, 1, 1, 1)
        noise = (noisy - alpha.sqrt() * self.picture) / (1 - alpha).sqrt()
        if self.config["prediction"] == "epsilon":
            return noise
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * self.picture


def draw_known(picture, sampler, steps, says="epsilon"):
    made = pipeline(sampler)
    known = KnowsThePicture(picture, says)
    made.rig = known
    made.use(sampler)
    buffers = torch.zeros(len(picture), 9, *picture.shape[2:])
    return made(buffers, torch.zeros(1, 6), steps=steps, generators=[3] * len(picture)), known


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 7, 20])
@pytest.mark.parametrize("says", ["epsilon", "v_prediction"])
def test_a_network_that_knows_the_picture_draws_it(sampler, steps, says):
    picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    drawn, _ = draw_known(picture, sampler, steps, says)
    torch.testing.assert_close(drawn, picture, atol=2e-3, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_estimates_are_clipped(sampler):
    drawn, _ = draw_known(torch.full((1, 3, 16, 16), 1.7), sampler, 5)
    torch.testing.assert_close(drawn, torch.ones_like(drawn), atol=2e-3, rtol=0)


def test_steps_of_ddim_are_those_published():
    _, known = draw_known(torch.zeros(1, 3, 16, 16), "ddim", 20)
    assert known.times == list(range(950, -1, -50))


def test_one_step_of_ddim_by_hand():
    made, given = pipeline(), inputs(1)
    code = torch.zeros(1, 6)
    times, alphas = make_scheduler().timesteps, training_schedule().alphas_cumprod
    made.scheduler.set_timesteps(2)
    assert made.scheduler.timesteps.tolist() == [500, 0] and len(times) == 1000
    noisy = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(8))
    for now, after in ((500, alphas[0]), (0, torch.tensor(1.0))):
        noise = made.rig(noisy, torch.tensor([now]), given["buffers"], code)
        clean = (noisy - (1 - alphas[now]).sqrt() * noise) / alphas[now].sqrt()
        clean = clean.clamp(-1, 1)
        # ADM derives the noise anew from the clipped estimate (its `p_mean_variance`).
        noise = (noisy - alphas[now].sqrt() * clean) / (1 - alphas[now]).sqrt()
        noisy = after.sqrt() * clean + (1 - after).sqrt() * noise
    drawn = made(given["buffers"], code, steps=2, generators=[8])
    torch.testing.assert_close(drawn, noisy.clamp(-1, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_picture_depends_on_its_own_seed_alone(sampler):
    made, given = pipeline(sampler), inputs(2)
    codes = made.encode(given["pictures"])
    both = made(given["buffers"], codes, steps=3, generators=[5, 6])
    alone = made(given["buffers"][1:], codes[1:], steps=3, generators=[6])
    torch.testing.assert_close(both[1:], alone, atol=1e-3, rtol=0)
    again = made(given["buffers"], pictures=given["pictures"], steps=3, generators=[5, 6])
    torch.testing.assert_close(again, both, atol=1e-3, rtol=0)
    other = made(given["buffers"], codes, steps=3, generators=[5, 7])
    assert (other[1] - both[1]).abs().max() > 1e-2
    assert both.dtype == torch.float32 and both.abs().max() <= 1


def test_what_does_not_fit_is_refused():
    made, given = pipeline(), inputs(2)
    with pytest.raises(ValueError, match="either codes or the pictures"):
        made(given["buffers"])
    with pytest.raises(ValueError, match="1 generators for 2 pictures"):
        made(given["buffers"], torch.zeros(2, 6), generators=[1])
    with pytest.raises(ValueError, match="3 codes for 2"):
        made(given["buffers"], torch.zeros(3, 6))
    with pytest.raises(ValueError, match=r"\[9, 16, 16\], not \[9, 32, 32\]"):
        made(given["buffers"][:, :, :16, :16], torch.zeros(2, 6))
    with pytest.raises(ValueError, match="0 steps"):
        made(given["buffers"], torch.zeros(2, 6), steps=0)


def test_what_is_raised_before_a_step_ends_the_drawing():
    made, given, seen = pipeline(), inputs(1), []

    def stop():
        seen.append(1)
        if len(seen) == 2:
            raise SystemExit

    with pytest.raises(SystemExit):
        made(given["buffers"], torch.zeros(1, 6), steps=5, before_step=stop)
    assert len(seen) == 2


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_its_folder_comes_back_and_draws_the_same(tmp_path, sampler):
    made, given = pipeline(sampler), inputs(1)
    made.save_pretrained(tmp_path)
    wanted = made(given["buffers"], torch.ones(1, 6), steps=2, generators=[1])
    for again in (RigPipeline.from_pretrained(tmp_path), load_rig_pipeline(tmp_path)):
        found = again(given["buffers"], torch.ones(1, 6), steps=2, generators=[1])
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)
    other = load_rig_pipeline(tmp_path / "rig", "dpm-solver++")
    assert type(other.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert other.use("ddim").scheduler.config["clip_sample"]


def test_published_weights_and_plain_folders_are_read(tmp_path):
    rig, given = small_rig(), inputs(1)
    torch.save(rig.state_dict(), tmp_path / "model000010.pt")
    rig.save_pretrained(tmp_path / "plain")
    wanted = rig(**given)
    for place in (tmp_path / "model000010.pt", tmp_path / "plain"):
        assert rig_config(place)["latent_width"] == 6
        torch.testing.assert_close(load_rig(place)(**given), wanted, atol=1e-4, rtol=0)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="model.base: .*nowhere.*does not exist"):
        load_rig(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no network of recipe physical"):
        load_rig(tmp_path)
    rig = small_rig()
    rig.save_pretrained(tmp_path / "torn")
    (tmp_path / "torn" / "diffusion_pytorch_model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        load_rig(tmp_path / "torn")
    small_rig(latent_width=7).save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text((tmp_path / "torn" / "config.json").read_text())
    with pytest.raises(UserError, match="weights do not fit"):
        load_rig(tmp_path / "other")
