"""OpenGraphAU: which of 27 action units a face shows, for its published weights.

C. Luo, S. Song, W. Xie, L. Shen and H. Gunes, "Learning Multi-dimensional Edge Feature-based AU
Relation Graph for Facial Action Unit Recognition", IJCAI 2022 (https://arxiv.org/abs/2205.01782):
each unit is a node of a graph, and is there as far as its feature points the way of a learnt
vector. Their first stage joins each node to those most like it, the second learns a feature of
every edge. Module names follow the keys of the published files, of which those on a ResNet-18 or a
ResNet-50 are read (`OpenGprahAU-ResNet50_second_stage.pth` and its like).

Its authors learnt from labels of presence alone. That a sure reading is a strong unit is a
convention of sfe, no measurement: such numbers order faces, they do not grade them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.transforms.v2.functional import normalize

from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import IMAGENET_MEAN, IMAGENET_STD, fit_to_input
from sfe_core.faces.tensor_reading import read_checkpoint
from sfe_core.strict_loading import load_strictly

# In the order of its outputs; after them the left and the right of each of `SIDED`.
UNITS = tuple(
    f"AU{number}"
    for number in (
        *(1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25, 26, 27),
        *(32, 38, 39),
    )
)
SIDED = ("AU1", "AU2", "AU4", "AU6", "AU10", "AU12", "AU14")
# The node that a side is read from. Its authors' code has AU11's for AU12, and so have its weights.
_NODE_OF_SIDE = tuple(
    UNITS.index("AU11" if unit == "AU12" else unit) for unit in SIDED for _ in "LR"
)
_SURE = 5.0  # what a likelihood of 1 stands for among FACS intensities, by convention
_NEIGHBOURS = 4  # of a node in the first stage, itself among them where it is that like itself
_LAYERS = 2  # of the second stage's graph
_SIDE_PX, _INPUT_PX = 256, 224  # what is cut out of the middle, and of what
_REMEDY = "take a published file on a ResNet, as OpenGprahAU-ResNet50_second_stage.pth"


class _Backbone(ResNet):
    """A ResNet up to its last grid: [B, 3, H, W] to [B, H/32 x W/32, channels]."""

    def __init__(self, depth: Literal[18, 50]) -> None:
        if depth == 18:
            super().__init__(BasicBlock, [2, 2, 2, 2])
        else:
            super().__init__(Bottleneck, [3, 4, 6, 3])
        self.channels = self.fc.in_features
        del self.fc

    def forward(self, images: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.flatten(2).transpose(1, 2)


class _LinearBlock(nn.Module):
    """The same linear layer at each of P places: [B, P, inputs] to [B, P, outputs], above 0."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc, self.bn = nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.fc(x).transpose(1, 2))).transpose(1, 2)


class _LikenessGraph(nn.Module):
    """First stage, facial graph generator: a node hears of those most like itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.U, self.V = nn.Linear(width, width), nn.Linear(width, width)
        self.bnv = nn.BatchNorm1d(len(UNITS))

    def forward(self, nodes: Tensor) -> Tensor:
        """[B, N, C] to the same."""
        likeness = (nodes @ nodes.transpose(1, 2)).detach()
        least = likeness.topk(_NEIGHBOURS).values[..., -1:]
        joined = (likeness >= least).to(nodes)
        scale = joined.sum(-1).rsqrt()
        joined = scale[:, :, None] * joined * scale[:, None]
        return F.relu(nodes + self.bnv(joined @ self.V(nodes) + self.U(nodes)))


class _Attention(nn.Module):
    """Queries of half the width, keys likewise, values of the whole."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_q, self.linear_k = (nn.Linear(width, width // 2) for _ in "qk")
        self.linear_v = nn.Linear(width, width)
        self.scale = (width // 2) ** -0.5

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """[..., P, C] and [..., P, C] to [..., P, C]."""
        likeness = self.linear_q(asking) @ self.linear_k(asked).transpose(-2, -1)
        return (self.scale * likeness).softmax(-1) @ self.linear_v(asked)

    def of_pairs(self, nodes: Tensor) -> Tensor:
        """What each node hears from each, as a mean over the places of the one that asks.

        Args:
            nodes: [B, N, P, C].

        Returns:
            [B, N, N, C]: the node that is asked, the node that asks.
        """
        asking, asked = self.linear_q(nodes), self.linear_k(nodes)
        likeness = torch.einsum("bjqc,bikc->bijqk", asking, asked)
        # A mean over places commutes with all that follows it, as weights do not change any more.
        shares = (self.scale * likeness).softmax(-1).mean(-2)
        return shares @ self.linear_v(nodes)


class _EdgeFeatures(nn.Module):
    """Second stage, FAM and ARM: what a node makes of the face, and two nodes of each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.FAM, self.ARM = _Attention(width), _Attention(width)
        self.edge_proj = nn.Linear(width, width)
        self.bn = nn.BatchNorm1d(len(UNITS) ** 2)

    def forward(self, features: Tensor, face: Tensor) -> Tensor:
        """[B, N, P, C] and [B, P, C] to [B, N x N, C], by the node at an edge's end first."""
        edges = self.ARM.of_pairs(self.FAM(features, face[:, None]))
        return self.bn(self.edge_proj(edges).flatten(1, 2))


class _EdgeLayer(nn.Module):
    """Second stage: a gated graph convolution (Bresson and Laurent 2017) with features of edges."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.U, self.V, self.A, self.B, self.E = (
            nn.Linear(width, width, bias=False) for _ in range(5)
        )
        self.bnv, self.bne = nn.BatchNorm1d(len(UNITS)), nn.BatchNorm1d(len(UNITS) ** 2)

    def forward(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, C] and [B, N x N, C] to the same."""
        ends, starts = self.A(nodes)[:, :, None], self.B(nodes)[:, None]
        edges = edges + F.relu(self.bne((ends + starts).flatten(1, 2) + self.E(edges)))
        gates = edges.sigmoid().unflatten(1, (len(UNITS), -1)).softmax(2)
        heard = (gates * self.V(nodes)[:, None]).mean(2)
        return nodes + F.relu(self.bnv(self.U(nodes) + heard)), edges


class _EdgeGraph(nn.Module):
    """Layers of the second stage, one after the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.graph_layers = nn.ModuleList(_EdgeLayer(width) for _ in range(_LAYERS))

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        for layer in self.graph_layers:
            nodes, edges = layer(nodes, edges)
        return nodes


class _Head(nn.Module):
    """Places of a face, [B, P, C], to [B, 41] likenesses between 0 and 1."""

    def __init__(self, width: int, stage: Literal[1, 2]) -> None:
        super().__init__()
        self.main_class_linears = nn.ModuleList(_LinearBlock(width, width) for _ in UNITS)
        self.edge_extractor = _EdgeFeatures(width) if stage == 2 else None
        self.gnn: nn.Module = _EdgeGraph(width) if stage == 2 else _LikenessGraph(width)
        self.main_sc = nn.Parameter(nn.init.xavier_uniform_(torch.empty(len(UNITS), width)))
        self.sub_sc = nn.Parameter(nn.init.xavier_uniform_(torch.empty(2 * len(SIDED), width)))

    def forward(self, face: Tensor) -> Tensor:
        features = torch.stack([layer(face) for layer in self.main_class_linears], 1)
        nodes = features.mean(2)
        if self.edge_extractor is None:
            nodes = self.gnn(nodes)
        else:
            nodes = self.gnn(nodes, self.edge_extractor(features, face))
        sides = nodes[:, list(_NODE_OF_SIDE)]
        return torch.cat([_cosine(nodes, self.main_sc), _cosine(sides, self.sub_sc)], 1)


def _cosine(nodes: Tensor, learnt: Tensor) -> Tensor:
    """[B, N, C] and [N, C] to [B, N]; what is learnt counts above 0 alone."""
    return (F.normalize(nodes, dim=-1) * F.normalize(F.relu(learnt), dim=-1)).sum(-1)


class OpenGraphAU(nn.Module):
    """A reader of 27 action units, for use with weights that do not change any more.

    Args:
        stage: of its authors' training.
        depth: of its ResNet.
    """

    units = UNITS
    input_px = _SIDE_PX

    def __init__(self, stage: Literal[1, 2] = 2, depth: Literal[18, 50] = 50) -> None:
        super().__init__()
        self.backbone = _Backbone(depth)
        width = self.backbone.channels // 4
        self.global_linear = _LinearBlock(self.backbone.channels, width)
        self.head = _Head(width, stage)

    def read(self, images: Tensor) -> Tensor:
        """The network as published.

        Args:
            images: [B, 3, 224, 224], RGB, with ImageNet's mean and deviation taken out.

        Returns:
            [B, 41]: how likely each of `UNITS` is there, 0 to 1, then for each of `SIDED` that it
            is there on the left alone, and on the right alone.
        """
        likely: Tensor = self.head(self.global_linear(self.backbone(images)))
        return likely

    def forward(self, images: Tensor) -> Tensor:
        """Read faces of any size.

        The authors' labels name a side where a unit is one-sided, and the unit itself besides. So a
        half shows a unit as far as the whole does and the other does not alone, p - p_other; or as
        far as it does alone, if that is more, since AU12's labels leave out one-sided ones (which
        theirs count as AU11: it reads high beside them). Their left is taken for the person's own,
        as FACS has it.

        Args:
            images: [B, 3, H, W], RGB in [-1, 1], cropped as `preprocess` crops; the middle 7/8 of
                a side is looked at.

        Returns:
            [B, 2, U] of the person's left and right half: presence, 0 to 1, times 5. No intensity:
            see above. Equal on both halves of what is not in `SIDED`.
        """
        edge = (_SIDE_PX - _INPUT_PX) // 2
        middle = fit_to_input(images, _SIDE_PX)[..., edge:-edge, edge:-edge]
        unit = normalize(middle.add(1).div(2), list(IMAGENET_MEAN), list(IMAGENET_STD))
        likely, sides = self.read(unit).split([len(UNITS), 2 * len(SIDED)], 1)
        alone = likely.new_zeros(len(likely), 2, len(UNITS))
        places = [UNITS.index(name) for name in SIDED]
        alone[:, :, places] = sides.unflatten(1, (-1, 2)).transpose(1, 2)
        return _SURE * torch.maximum(likely[:, None] - alone.flip(1), alone)


def load_open_graph_au(path: Path) -> OpenGraphAU:
    """Load a published file of either stage, on a ResNet-18 or -50, frozen, to evaluate with.

    Raises:
        UserError: the file is no OpenGraphAU on a ResNet, naming the first keys that do not fit.
    """
    stored = read_checkpoint(path).get("state_dict")
    named = stored if isinstance(stored, Mapping) else {}
    state = {
        str(key).removeprefix("module."): value
        for key, value in named.items()
        if isinstance(value, Tensor)
    }
    if "backbone.layer1.0.conv1.weight" not in state:
        raise UserError(path, "holds no OpenGraphAU on a ResNet", _REMEDY)
    second = any(key.startswith("head.edge_extractor.") for key in state)
    bottleneck = "backbone.layer1.0.conv3.weight" in state
    network = OpenGraphAU(2 if second else 1, 50 if bottleneck else 18)
    load_strictly(network, state, path, _REMEDY)
    return network.eval().requires_grad_(False)
