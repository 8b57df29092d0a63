"""New tokens, text encoders' adapters, magnitudes: what is saved computes what was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

from sfe_core.errors import UserError
from sfe_core.training.engine.lora import TEXT_TARGETS, add_lora, load_lora, merged, save_lora
from sfe_core.training.new_tokens import (
    add_new_rows,
    load_with_new_rows,
    new_rows,
    save_with_new_rows,
)

TOKENS = torch.tensor([[188, 5, 190, 7, 191, 189]])  # 190 and 191 are new


def encoder_of(base: Path, rank: int = 0, dora: bool = False) -> CLIPTextModel:
    network = CLIPTextModel.from_pretrained(base / "text_encoder").requires_grad_(False)
    if rank:
        add_lora(network, rank, (), TEXT_TARGETS, dora)
    torch.manual_seed(0)
    add_new_rows(network, 2, [5])
    return network


def trained(network: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_new_tokens_start_near_a_word_and_old_ones_stay(tiny_base: Path):
    plain = CLIPTextModel.from_pretrained(tiny_base / "text_encoder")
    network = encoder_of(tiny_base)
    old = torch.tensor([[188, 5, 7, 189]])
    assert torch.equal(network(old)[0], plain(old)[0])
    table, rows = plain.get_input_embeddings().weight, new_rows(network)
    assert rows is not None and not torch.equal(rows[0], rows[1])
    assert (rows - table[5]).abs().max() < 0.1 * table.std()
    network(TOKENS)[0].square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is not None] == [
        "embeddings.token_embedding.rows"
    ]


def test_they_come_back_bit_for_bit_and_transformers_reads_them(tiny_base: Path, tmp_path: Path):
    network = trained(encoder_of(tiny_base))
    save_with_new_rows(network, tmp_path)
    plain = CLIPTextModel.from_pretrained(tmp_path)
    assert plain.config.vocab_size == 192
    assert torch.equal(plain(TOKENS)[0], network(TOKENS)[0])
    other = encoder_of(tiny_base)
    load_with_new_rows(other, tmp_path)
    assert torch.equal(other(TOKENS)[0], network(TOKENS)[0])


@pytest.mark.parametrize("dora", [False, True])
def test_a_text_encoders_adapter_with_new_tokens(tiny_base: Path, tmp_path: Path, dora: bool):
    network = trained(encoder_of(tiny_base, 2, dora))
    plain = merged(network)
    plain.save_pretrained(tmp_path / "whole")
    for one in (plain, CLIPTextModel.from_pretrained(tmp_path / "whole")):
        assert torch.allclose(one(TOKENS)[0], network(TOKENS)[0], atol=1e-5)
    save_lora(network, tmp_path / "lora")
    other = encoder_of(tiny_base, 2, dora)
    load_lora(other, tmp_path / "lora")
    assert torch.equal(other(TOKENS)[0], network(TOKENS)[0])


@pytest.mark.parametrize("dora", [False, True])
def test_other_modules_and_magnitudes_of_a_unet(tiny_base: Path, tmp_path: Path, dora: bool):
    def adapted() -> UNet2DConditionModel:
        unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet")
        add_lora(unet, 2, (), ("to_q", "to_out.0", "ff.net.2", "conv1"), dora)
        return unet

    unet = trained(adapted())
    noisy, text = torch.randn(1, 4, 8, 8), torch.randn(1, 7, 32)
    expected = unet(noisy, 3, text)[0]
    assert torch.allclose(merged(unet)(noisy, 3, text)[0], expected, atol=1e-5)
    save_lora(unet, tmp_path)
    other = adapted()
    load_lora(other, tmp_path)
    assert torch.equal(other(noisy, 3, text)[0], expected)


def test_a_module_that_is_not_there_is_told(tiny_base: Path):
    unet = UNet2DConditionModel.from_pretrained(tiny_base / "unet")
    with pytest.raises(UserError, match="no linear layer or convolution that ends in 'norm1'"):
        add_lora(unet, 2, (), ("to_q", "norm1"))
