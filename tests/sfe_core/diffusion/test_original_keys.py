"""Names in a single file, against those of published files of Stable Diffusion 1.5 and XL."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from sfe_core.diffusion.original_keys import (
    XL_TEXT_PREFIXES,
    original_open_clip,
    original_text_encoder,
    original_unet,
    original_vae,
)

# Name and shape as in v1-5-pruned-emaonly, one of every kind of layer.
UNET = {
    "time_embed.0.weight": [1280, 320],
    "time_embed.2.bias": [1280],
    "input_blocks.0.0.weight": [320, 4, 3, 3],
    "input_blocks.1.0.in_layers.0.weight": [320],
    "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [320, 768],
    "input_blocks.3.0.op.weight": [320, 320, 3, 3],
    "input_blocks.4.0.skip_connection.weight": [640, 320, 1, 1],
    "input_blocks.8.1.transformer_blocks.0.ff.net.0.proj.weight": [10240, 1280],
    "input_blocks.11.0.emb_layers.1.weight": [1280, 1280],
    "middle_block.0.in_layers.2.weight": [1280, 1280, 3, 3],
    "middle_block.1.proj_in.weight": [1280, 1280, 1, 1],
    "middle_block.2.out_layers.3.weight": [1280, 1280, 3, 3],
    "output_blocks.2.1.conv.weight": [1280, 1280, 3, 3],
    "output_blocks.5.2.conv.weight": [1280, 1280, 3, 3],
    "output_blocks.8.2.conv.bias": [640],
    "output_blocks.11.1.transformer_blocks.0.attn1.to_out.0.weight": [320, 320],
    "out.0.weight": [320],
    "out.2.weight": [4, 320, 3, 3],
}
VAE = {
    "encoder.conv_in.weight": [128, 3, 3, 3],
    "encoder.down.0.block.0.norm1.weight": [128],
    "encoder.down.1.block.0.nin_shortcut.weight": [256, 128, 1, 1],
    "encoder.down.2.downsample.conv.weight": [512, 512, 3, 3],
    "encoder.mid.block_2.conv2.weight": [512, 512, 3, 3],
    "encoder.mid.attn_1.q.weight": [512, 512, 1, 1],
    "encoder.norm_out.weight": [512],
    "decoder.mid.attn_1.proj_out.weight": [512, 512, 1, 1],
    "decoder.up.3.block.2.conv1.weight": [512, 512, 3, 3],
    "decoder.up.0.block.0.nin_shortcut.weight": [128, 256, 1, 1],
    "decoder.up.1.upsample.conv.weight": [256, 256, 3, 3],
    "quant_conv.weight": [8, 8, 1, 1],
}

# As in sd_xl_base_1.0.
XL_UNET = {
    "label_emb.0.0.weight": [1280, 2816],
    "label_emb.0.2.bias": [1280],
    "input_blocks.4.1.proj_in.weight": [640, 640],
    "input_blocks.8.1.transformer_blocks.9.attn2.to_v.weight": [1280, 2048],
    "middle_block.1.transformer_blocks.9.ff.net.2.weight": [1280, 5120],
    "output_blocks.2.2.conv.weight": [1280, 1280, 3, 3],
    "output_blocks.8.0.skip_connection.weight": [320, 640, 1, 1],
    "out.2.weight": [4, 320, 3, 3],
}
OPEN_CLIP = {
    "positional_embedding": [77, 1280],
    "text_projection": [1280, 1280],
    "token_embedding.weight": [49408, 1280],
    "ln_final.bias": [1280],
    "transformer.resblocks.31.attn.in_proj_weight": [3840, 1280],
    "transformer.resblocks.0.attn.in_proj_bias": [3840],
    "transformer.resblocks.9.attn.out_proj.weight": [1280, 1280],
    "transformer.resblocks.9.mlp.c_fc.weight": [5120, 1280],
    "transformer.resblocks.9.mlp.c_proj.bias": [1280],
    "transformer.resblocks.9.ln_2.weight": [1280],
}


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    """Stable Diffusion 1.5's, without its numbers."""
    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    with torch.device("meta"):
        return AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        )


def shapes(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, list[int]]:
    assert all(name.startswith(prefix) for name in tensors)
    return {name.removeprefix(prefix): list(tensor.shape) for name, tensor in tensors.items()}


def test_the_unet_has_the_published_names_and_goes_back(unet):
    original = original_unet(unet.state_dict(), 2)
    assert len(original) == 686  # of the published file
    named = shapes(original, "model.diffusion_model.")
    assert {name: named[name] for name in UNET} == UNET
    back = convert_ldm_unet_checkpoint(dict(original), unet.config)
    assert {n: t.shape for n, t in back.items()} == {
        n: t.shape for n, t in unet.state_dict().items()
    }


def test_the_unet_of_xl_has_the_published_names_and_goes_back():
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    original = original_unet(unet.state_dict(), 2)
    assert len(original) == 1680  # of the published file
    named = shapes(original, "model.diffusion_model.")
    assert {name: named[name] for name in XL_UNET} == XL_UNET
    back = convert_ldm_unet_checkpoint(dict(original), unet.config)
    assert {n: t.shape for n, t in back.items()} == {
        n: t.shape for n, t in unet.state_dict().items()
    }


def test_the_second_text_encoder_of_xl_has_the_published_names():
    config = CLIPTextConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        projection_dim=1280,
    )
    with torch.device("meta"):
        network = CLIPTextModelWithProjection(config)
    original = original_open_clip(network.state_dict(), XL_TEXT_PREFIXES[1])
    assert len(original) == 389  # of the published file, but for the logits' scale
    named = shapes(original, "conditioner.embedders.1.model.")
    assert {name: named[name] for name in OPEN_CLIP} == OPEN_CLIP


def test_the_second_text_encoder_of_xl_goes_back_to_the_bit(tiny_sdxl):
    network = CLIPTextModelWithProjection.from_pretrained(tiny_sdxl / "text_encoder_2")
    original = original_open_clip(network.state_dict(), "")
    back = convert_open_clip_checkpoint(network, original, prefix="")
    state = network.state_dict()
    assert back.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in back.items())
    with pytest.raises(KeyError, match="prompt"):
        original_open_clip({"text_model.prompt": torch.zeros(1)}, "")


def test_the_vae_has_the_published_names_and_goes_back(vae):
    original = original_vae(vae.state_dict(), 4)
    assert len(original) == 248  # of the published file
    named = shapes(original, "first_stage_model.")
    assert {name: named[name] for name in VAE} == VAE
    back = convert_ldm_vae_checkpoint(dict(original), vae.config)
    assert {n: t.shape for n, t in back.items()} == {
        n: t.shape for n, t in vae.state_dict().items()
    }


def test_the_text_encoder_has_its_wrapper_whatever_wrote_it():
    name = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight"
    for given in ("text_model.encoder.layers.0.mlp.fc1.weight", "encoder.layers.0.mlp.fc1.weight"):
        assert list(original_text_encoder({given: torch.zeros(1)})) == [name]


@pytest.mark.parametrize("name", ["class_embedding.linear_1.weight", "down_blocks.0.motion.weight"])
def test_a_layer_that_stable_diffusion_1_lacks_is_refused(name):
    with pytest.raises(KeyError, match=name):
        original_unet({name: torch.zeros(1)}, 2)
    with pytest.raises(KeyError, match=name):
        original_vae({name: torch.zeros(1)}, 4)
