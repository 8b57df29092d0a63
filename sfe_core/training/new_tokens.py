"""New rows of a text encoder's table of tokens, trained while the table itself stays as it is.

Textual inversion (Gal et al. 2022, https://arxiv.org/abs/2208.01618); together with LoRA, pivotal
tuning (Roich et al. 2021, https://arxiv.org/abs/2106.05744). With the whole table as the parameter
the optimiser would keep moments for it, and weight decay would move every other word.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class TableWithNewRows(nn.Module):
    """A frozen table [V, D], and rows V … V + n - 1 that train.

    Args:
        table: of a text encoder.
        rows: what the new rows start as, [n, D].
    """

    def __init__(self, table: nn.Embedding, rows: Tensor) -> None:
        super().__init__()
        self.table = table.requires_grad_(False)
        self.rows = nn.Parameter(rows.detach().clone())

    @property
    def weight(self) -> Tensor:
        """Both, [V + n, D]."""
        return torch.cat([self.table.weight, self.rows.to(self.table.weight)])

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids [...] to embeddings [..., D]."""
        known = self.table.num_embeddings
        old = self.table(tokens.clamp(max=known - 1))
        new = nn.functional.embedding((tokens - known).clamp(min=0), self.rows)
        return torch.where((tokens >= known)[..., None], new.to(old), old)


def add_new_rows(network: PreTrainedModel, count: int, begin: Sequence[int]) -> None:
    """Give a text encoder `count` new tokens; its table no longer trains.

    Args:
        network: changed in place.
        count: new tokens, which get the ids after the last.
        begin: token ids of the words that the new rows start as, in turn; spread a little, so that
            rows of the same word can part.
    """
    table = network.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    if table.weight.is_meta:
        rows = torch.empty(count, table.embedding_dim, device="meta")
    else:
        weight = table.weight.detach()
        rows = torch.stack([weight[begin[n % len(begin)]] for n in range(count)])
        if count > 1:
            rows = rows + 0.01 * weight.std() * torch.randn(rows.shape)
    network.set_input_embeddings(TableWithNewRows(table, rows))
    network.config.vocab_size = table.num_embeddings + count


def new_rows(network: nn.Module) -> Tensor | None:
    """The rows of `add_new_rows`, [n, D]; None of a network without."""
    for module in network.modules():
        if isinstance(module, TableWithNewRows):
            return module.rows
    return None


@torch.no_grad()
def with_whole_table(network: PreTrainedModel) -> PreTrainedModel:
    """A copy whose table is one plain table, as transformers loads it; or the network itself."""
    table = network.get_input_embeddings()
    if not isinstance(table, TableWithNewRows):
        return network
    # The table is not copied twice.
    network_copy = copy.deepcopy(network)
    weight = table.weight.detach().clone()
    plain = nn.Embedding.from_pretrained(weight, padding_idx=table.table.padding_idx)
    network_copy.set_input_embeddings(plain)
    return network_copy


def save_with_new_rows(network: nn.Module, folder: Path) -> None:
    """Write a text encoder with new tokens as transformers does any other."""
    assert isinstance(network, PreTrainedModel)
    with_whole_table(network).save_pretrained(folder)


def load_with_new_rows(network: nn.Module, folder: Path) -> None:
    """Put what `save_with_new_rows` wrote into a network with as many new tokens, bit for bit.

    Raises:
        OSError, RuntimeError, ValueError: it cannot be read, or is of another layout.
    """
    assert isinstance(network, PreTrainedModel)
    state = type(network).from_pretrained(folder).state_dict()
    table = network.get_input_embeddings()
    if isinstance(table, TableWithNewRows):
        (name,) = (name for name, one in network.named_modules() if one is table)
        weight = state.pop(f"{name}.weight")
        state[f"{name}.table.weight"] = weight[: table.table.num_embeddings]
        state[f"{name}.rows"] = weight[table.table.num_embeddings :]
    empty = any(parameter.is_meta for parameter in network.parameters())
    network.load_state_dict(state, assign=empty)
