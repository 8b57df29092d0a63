"""The guided pipeline against diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from PIL import Image
from torchvision.transforms.functional import to_tensor

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.errors import UserError
from tests.sfe_core.diffusion.test_guidance import awake

PROMPTS = ["happy face", "sad face"]


@pytest.fixture(scope="module")
def folder(tiny_base, tmp_path_factory):
    """A guided pipeline on disk, its bank off zero."""
    target = tmp_path_factory.mktemp("guided")
    plain = StableDiffusionPipeline.from_pretrained(tiny_base)
    bank = awake(GuidanceBank(("landmarks", "depth"), (16, 32, 64), 16))
    guided = GuidedStableDiffusionPipeline(**plain.components, guidance_encoder=bank)
    guided.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def guided(folder) -> GuidedStableDiffusionPipeline:
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def depth() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(9))


def draw(pipeline, prompts=PROMPTS, seeds=(1, 2), **options):
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    options = {"num_inference_steps": 3, "output_type": "pt", "generator": generators} | options
    return pipeline(prompts, **options).images


def test_plain_diffusers_loads_the_folder_and_draws_the_same_without_maps(folder, guided, depth):
    plain = StableDiffusionPipeline.from_pretrained(folder)
    assert type(plain) is StableDiffusionPipeline
    expected = draw(plain)
    assert torch.equal(draw(guided), expected)
    off = {"guidance_images": {"depth": depth}, "guidance_strengths": {"depth": 0.0}}
    assert torch.equal(draw(guided, **off), expected)


def test_a_run_without_guidance_draws_as_plain_diffusers_does(folder, guided):
    parts = {name: part for name, part in guided.components.items() if name != "guidance_encoder"}
    empty = GuidanceBank((), (16, 32, 64), 16)
    pipeline = GuidedStableDiffusionPipeline(**parts, guidance_encoder=empty)
    pipeline.set_progress_bar_config(disable=True)
    assert torch.equal(draw(pipeline), draw(StableDiffusionPipeline.from_pretrained(folder)))
    with pytest.raises(UserError, match="no guidance_encoder"):
        draw(pipeline, guidance_images={"depth": torch.rand(2, 3, 32, 32)})


def test_maps_change_the_picture_and_leave_no_trace(guided, depth):
    before = draw(guided)
    assert (draw(guided, guidance_images={"depth": depth}) - before).abs().max() > 0.01
    assert torch.equal(draw(guided), before)


def test_unconditional_half_is_not_guided(guided, depth):
    seen = []
    handle = guided.unet.down_blocks[0].register_forward_pre_hook(
        lambda module, arguments, named: seen.append(named["hidden_states"]), with_kwargs=True
    )
    try:
        draw(guided, num_inference_steps=1)
        draw(guided, num_inference_steps=1, guidance_images={"depth": depth})
    finally:
        handle.remove()
    without, with_maps = seen
    assert torch.equal(without[:2], with_maps[:2])
    assert (without[2:] - with_maps[2:]).abs().amax(dim=(1, 2, 3)).min() > 0.01


def test_without_classifier_free_guidance_every_picture_is_guided(guided, depth):
    plain = draw(guided, guidance_scale=1.0)
    with_maps = draw(guided, guidance_scale=1.0, guidance_images={"depth": depth})
    assert (with_maps - plain).abs().amax(dim=(1, 2, 3)).min() > 0.01


def test_each_prompt_has_its_own_generator(guided, depth):
    both = draw(guided, guidance_images={"depth": depth})
    second = draw(guided, PROMPTS[1:], seeds=(2,), guidance_images={"depth": depth[1:]})
    torch.testing.assert_close(both[1:], second, atol=1e-4, rtol=0)


def test_one_map_serves_every_prompt_and_picture(guided, depth):
    one = draw(guided, guidance_images={"depth": depth[:1]})
    assert torch.equal(one, draw(guided, guidance_images={"depth": depth[:1].repeat(2, 1, 1, 1)}))
    several = draw(
        guided, "happy face", num_images_per_prompt=2, guidance_images={"depth": depth[:1]}
    )
    assert several.shape[0] == 2


@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerAncestralDiscreteScheduler])
def test_any_scheduler_and_callbacks(folder, depth, scheduler):
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(folder)
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    steps = []

    def note(pipe, step, timestep, tensors):
        steps.append(step)
        return tensors

    image = draw(pipeline, guidance_images={"depth": depth}, callback_on_step_end=note)
    assert steps == [0, 1, 2]
    assert torch.isfinite(image).all()


def test_bad_maps_are_refused(guided, tiny_base, depth):
    with pytest.raises(UserError, match=r"\[2, 3, 16, 16\].*32, 32"):
        draw(guided, guidance_images={"depth": depth[..., :16, :16]})
    with pytest.raises(UserError, match="3 maps for 2 pictures"):
        draw(guided, guidance_images={"depth": torch.rand(3, 3, 32, 32)})
    with pytest.raises(UserError, match="'nose'"):
        draw(guided, guidance_images={"nose": depth})
    without = GuidedStableDiffusionPipeline.from_pretrained(tiny_base)
    with pytest.raises(UserError, match="no guidance_encoder"):
        draw(without, guidance_images={"depth": depth})


def test_pictures_are_maps_too(guided):
    levels = torch.randint(0, 256, (2, 40, 40, 3), dtype=torch.uint8).numpy()
    depth16 = (levels[0, ..., 0].astype("uint16") * 257)[:32, :32]
    pictures = [Image.fromarray(one) for one in levels]
    drawn = draw(guided, guidance_images={"landmarks": pictures})
    resized = [picture.resize((32, 32), Image.Resampling.LANCZOS) for picture in pictures]
    tensors = torch.stack([to_tensor(picture) for picture in resized])
    assert torch.equal(drawn, draw(guided, guidance_images={"landmarks": tensors}))
    one = draw(guided, guidance_images={"depth": Image.fromarray(depth16)})
    grey = torch.from_numpy(depth16.astype("float32") / 65535.0).expand(1, 3, 32, 32)
    torch.testing.assert_close(one, draw(guided, guidance_images={"depth": grey}))


def test_a_strength_of_an_unknown_map_is_refused(guided, depth):
    with pytest.raises(UserError, match="no map 'nose'.*known: landmarks, depth"):
        draw(guided, guidance_images={"depth": depth}, guidance_strengths={"nose": 1.0})
    # Strengths of maps that are not given this time do no harm.
    strengths = {"depth": 1.0, "landmarks": 0.3}
    first = draw(guided, guidance_images={"depth": depth}, guidance_strengths=strengths)
    assert torch.equal(first, draw(guided, guidance_images={"depth": depth}))


def test_offloaded_parts_draw_the_same(folder, guided, depth):
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.enable_model_cpu_offload(
        device="cpu:0"
    )  # hooks as on a GPU, which is not at hand here
    options = {"guidance_images": {"depth": depth}}
    for _ in range(2):
        assert torch.equal(draw(pipeline, **options), draw(guided, **options))


def test_parts_leave_the_gpu_in_the_order_in_which_they_run(guided, depth):
    ran = []
    parts = {name: part for name, part in guided.components.items() if hasattr(part, "forward")}
    handles = [
        part.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        for name, part in parts.items()
    ]
    try:
        draw(guided, guidance_images={"depth": depth})
    finally:
        for handle in handles:
            handle.remove()
    # The VAE decodes without its forward.
    planned = [name for name in guided.model_cpu_offload_seq.split("->") if name in parts]
    assert list(dict.fromkeys(ran)) == [name for name in planned if name != "vae"]
