"""Pickled tensors: read wherever they lay, and nothing but tensors is."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.corpus.importing.tensor_pickles import WrongTensorError, read_tensor
from sfe_core.errors import UserError
from tests.rig_files import Reduced, pickled_on_gpu, pickled_over, stored

BATCH = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "tensor",
    [BATCH[2].clone(), BATCH[2], BATCH[1].transpose(1, 2), BATCH[:, 0, 0, 0].half()],
    ids=["own", "view", "transposed", "half"],
)
def test_a_tensor_is_read_as_it_is_and_holds_no_more_than_itself(
    tensor: torch.Tensor, protocol: int
) -> None:
    values = read_tensor(pickle.dumps(tensor, protocol), tensor.shape, "x")
    assert np.array_equal(values, tensor.float().numpy())
    assert values.dtype == np.float32 and values.base is None


def test_a_gpus_tensor_is_read_without_a_gpu() -> None:
    content = pickled_on_gpu(BATCH[3])
    assert b"cuda:0" in content
    assert np.array_equal(read_tensor(content, (3, 5, 5), "x"), BATCH[3].numpy())


def _hidden_in_the_storage(path: Path) -> bytes:
    """A tensor whose storage, a pickle in the pickle, calls a function."""
    inner = io.BytesIO()
    torch.save(Reduced(os.mkdir, str(path)), inner, _use_new_zipfile_serialization=False)
    return pickled_over(inner.getvalue(), (1,), (1,))


def test_a_pickle_that_calls_anything_else_is_refused_unrun(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for content in (
        pickle.dumps(Reduced(os.mkdir, str(made))),
        pickle.dumps([BATCH[0], Reduced(eval, f"__import__('os').mkdir({str(made)!r})")]),
        _hidden_in_the_storage(made),
    ):
        with pytest.raises(
            UserError, match=r"^normal_7: is not read: no pickle of a tensor \("
        ) as e:
            read_tensor(content, (3, 5, 5), "normal_7")
        assert "\n" not in str(e.value)
        assert not made.exists()
        pickletools.dis(content, io.StringIO())  # it is a whole pickle


def _over(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A pickle of a tensor over a storage of three numbers."""
    return pickled_over(stored(torch.arange(3.0)), size, stride, offset)


@pytest.mark.parametrize(
    "content", [_over((4,), (1,)), _over((2,), (1,), 2), _over((2,), (-1,)), _over((2, 2), (1,))]
)
def test_a_tensor_stays_in_its_storage(content: bytes) -> None:
    assert read_tensor(_over((2,), (2,)), (2,), "x").tolist() == [0.0, 2.0]
    with pytest.raises(UserError, match="no pickle of a tensor"):
        read_tensor(content, (2,), "x")


def test_a_huge_claim_takes_no_memory() -> None:
    with pytest.raises(WrongTensorError, match="expected"):
        read_tensor(_over((10**9, 10**9), (0, 0)), (3, 5, 5), "x")


@pytest.mark.parametrize("content", [b"", b"PNG", pickle.dumps(BATCH[0])[:-9]])
def test_what_is_torn_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="get it anew"):
        read_tensor(content, (3, 5, 5), "x")


def test_what_is_no_tensor_of_that_shape_is_told() -> None:
    with pytest.raises(UserError, match="pickle of list"):
        read_tensor(pickle.dumps([1.0]), (1,), "x")
    for tensor in (BATCH[0], torch.full((2,), torch.nan), torch.zeros(2, dtype=torch.int64)):
        with pytest.raises(WrongTensorError):
            read_tensor(pickle.dumps(tensor), (2,), "x")
