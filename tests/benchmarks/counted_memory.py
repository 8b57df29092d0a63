"""Bytes that a GPU would hold, counted on tensors without contents: no GPU, no weights.

Networks lie on torch's "meta" device: every operation makes a tensor with a size and no data, and
autograd and checkpointing keep and drop them as they would real ones. `Count` sees each storage
come and go. torch's own `MemTracker` would be the tool; it hangs a gradient hook on every
parameter, which frozen ones refuse (torch 2.14), and all of a LoRA's base is frozen.

What a count cannot see: what a kernel takes for itself (cuDNN's workspaces), fragments between
blocks, and the CUDA context.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

BLOCK = 512  # bytes; the CUDA allocator hands out multiples of it
# CUDA's autocast computes these in half precision and those in float32 (torch.amp's lists), of
# what a UNet, a VAE and the noise loss call.
_IN_HALF = {F.linear, torch.conv2d, F.conv2d, torch.matmul, torch.bmm}
_IN_FLOAT = {F.group_norm, F.layer_norm, torch.group_norm, torch.layer_norm, F.mse_loss, F.l1_loss}


def rounded(count: int) -> int:
    """Bytes that the allocator takes for `count` of them."""
    return -(-count // BLOCK) * BLOCK


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """What the storages of tensors take, each counted once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(map(rounded, storages.values()))


class Count(TorchDispatchMode):
    """Within the block, the bytes of all storages on the meta device that operations make.

    Attributes:
        live: bytes of those that are alive.
        peak: the most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._sizes: dict[int, int] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that were made outside the block, as long as they live."""
        for tensor in tensors:
            self._see(tensor)

    def restart(self) -> None:
        """Forget the peak."""
        self.peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and see what it made."""
        made = func(*args, **(kwargs or {}))
        for one in tree_iter(made):
            if isinstance(one, Tensor) and one.device.type == "meta":
                self._see(one)
        return made

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place = storage._cdata
        if place in self._sizes:
            return
        self._sizes[place] = rounded(storage.nbytes())
        self.live += self._sizes[place]
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._gone, place)

    def _gone(self, place: int) -> None:
        self.live -= self._sizes.pop(place)


class AsOnGPU(TorchFunctionMode):
    """Within the block, operations take the precisions and the attention that they take on a GPU.

    Autocast itself does nothing on the meta device, so its two lists are followed here. A cast
    weight lives as long as the operation, or its gradient, needs it: frozen ones are not cached.
    Attention is a fused kernel, which keeps no score for a pair of tokens: in half precision
    flash attention or the memory-efficient one, in float32 the latter; both keep the output, and a
    float32 number for each query and head.

    Args:
        half: of the forward pass; None: all in float32.
    """

    def __init__(self, half: torch.dtype | None) -> None:
        super().__init__()
        self._half = half

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operation with its inputs cast."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            args, kwargs = self._cast(self._half, args, kwargs)
            return _fused_attention(*args, **kwargs)
        if self._half is not None and func in _IN_HALF:
            args, kwargs = self._cast(self._half, args, kwargs)
        elif self._half is not None and func in _IN_FLOAT:
            args, kwargs = self._cast(torch.float32, args, kwargs)
        return func(*args, **kwargs)

    def _cast(self, dtype: torch.dtype | None, args: Any, kwargs: Any) -> Any:
        def cast(tensor: Tensor) -> Tensor:
            return tensor.to(dtype) if tensor.is_floating_point() and dtype else tensor

        return tree_map_only(Tensor, cast, (args, kwargs))


def _fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    *_: Any,
    **options: Any,
) -> Tensor:
    """[B, H, N, D]; on the meta device the causal mask is a flag, and other masks are refused."""
    assert attn_mask is None or not attn_mask.requires_grad
    return torch.ops.aten._scaled_dot_product_flash_attention(
        query, key, value, 0.0, bool(options.get("is_causal")), False
    )[0]


def backward(loss: Tensor) -> None:
    """`loss.backward()`, which itself steps out of a function mode on its way.

    Checkpoints compute again in there, and have to do it as before.
    """
    torch.autograd.graph._engine_run_backward(
        (loss,),
        (torch.ones_like(loss),),
        False,
        False,
        (),
        allow_unreachable=True,
        accumulate_grad=True,
    )
