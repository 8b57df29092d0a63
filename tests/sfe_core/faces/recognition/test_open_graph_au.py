"""OpenGraphAU against its layers written out from the paper, in plain functions.

Beside its authors' own code (CVI-SZU/ME-GraphAU, commit dda53cb), run as it is on the same random
files, both stages on both ResNets agreed within 2e-16 in float64; in float32 the first stage to
the last bit, the second within 1e-7. Its picture transform gave what `forward` hands on within one
of 255 levels, to which Pillow rounds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sfe_core.controls.action_units import ACTION_UNITS
from sfe_core.errors import UserError
from sfe_core.faces.recognition.open_graph_au import (
    SIDED,
    UNITS,
    OpenGraphAU,
    load_open_graph_au,
)
from sfe_core.faces.recognition.unit_readers import load_unit_reader
from sfe_core.faces.tensor_reading import read_checkpoint

State = dict[str, Tensor]
N = 27


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """Batch norm by its running statistics; channels are x's dimension 1."""
    parts = [state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *parts)


def conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def resnet18(state: State, images: Tensor) -> Tensor:
    """[B, 3, H, W] to [B, places, 512]."""
    x = F.relu(norm(state, "backbone.bn1", conv(state, "backbone.conv1", images, 2)))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"backbone.layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            inner = F.relu(norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", x, stride)))
            inner = norm(state, f"{name}.bn2", conv(state, f"{name}.conv2", inner))
            if stride == 2:
                shorter = conv(state, f"{name}.downsample.0", x, 2)
                x = norm(state, f"{name}.downsample.1", shorter)
            x = F.relu(inner + x)
    return x.flatten(2).transpose(1, 2)


def block(state: State, name: str, x: Tensor) -> Tensor:
    flat = linear(state, f"{name}.fc", x).flatten(0, 1)
    return F.relu(norm(state, f"{name}.bn", flat)).view(*x.shape[:2], -1)


def attention(state: State, name: str, asking: Tensor, asked: Tensor) -> Tensor:
    query, key, value = (
        linear(state, f"head.edge_extractor.{name}.linear_{part}", of)
        for part, of in (("q", asking), ("k", asked), ("v", asked))
    )
    return F.scaled_dot_product_attention(query, key, value)


def first_stage(state: State, nodes: Tensor) -> Tensor:
    """Each node is joined to its four likest, D^-1/2 A D^-1/2."""
    weights = []
    for one in nodes:
        likeness = one @ one.T
        joined = torch.zeros(N, N).to(one)
        for row, order in enumerate(likeness.argsort(dim=1, descending=True)):
            joined[row, order[:4]] = 1.0
        degrees = torch.diag(joined.sum(1) ** -0.5)
        weights.append(degrees @ joined @ degrees)
    heard = torch.stack(weights) @ linear(state, "head.gnn.V", nodes)
    return F.relu(nodes + norm(state, "head.gnn.bnv", heard + linear(state, "head.gnn.U", nodes)))


def second_stage(state: State, features: Tensor, face: Tensor) -> Tensor:
    """Every edge on its own: `edges[i][j]` ends at node i and starts at node j."""
    seen = [attention(state, "FAM", features[:, i], face) for i in range(N)]
    pairs = [attention(state, "ARM", seen[j], seen[i]) for i in range(N) for j in range(N)]
    places = torch.stack([linear(state, "head.edge_extractor.edge_proj", p) for p in pairs], 1)
    edges, nodes = norm(state, "head.edge_extractor.bn", places).mean(2), features.mean(2)
    for layer in (0, 1):
        name = f"head.gnn.graph_layers.{layer}"
        to, by, value, own = (linear(state, f"{name}.{part}", nodes) for part in "ABVU")
        summed = [to[:, i] + by[:, j] for i in range(N) for j in range(N)]
        moved = torch.stack(summed, 1) + linear(state, f"{name}.E", edges)
        edges = edges + F.relu(norm(state, f"{name}.bne", moved))
        heard = []
        for i in range(N):
            gates = torch.sigmoid(edges[:, i * N : (i + 1) * N]).softmax(1)
            heard.append((gates * value).sum(1) / N)
        nodes = nodes + F.relu(norm(state, f"{name}.bnv", own + torch.stack(heard, 1)))
    return nodes


def open_graph_au(state: State, images: Tensor) -> Tensor:
    """[B, 3, H, W] to [B, 41]; of a ResNet-18."""
    face = block(state, "global_linear", resnet18(state, images))
    features = torch.stack(
        [block(state, f"head.main_class_linears.{i}", face) for i in range(N)], 1
    )
    if "head.gnn.U.weight" in state:
        nodes = first_stage(state, features.mean(2))
    else:
        nodes = second_stage(state, features, face)
    # Of AU1, 2, 4, 6, 10, 11 and 14: the sides of AU12 are read from the node of AU11.
    of_sides = [node for node in (0, 1, 2, 4, 7, 8, 11) for _ in range(2)]
    learnt = F.relu(torch.cat([state["head.main_sc"], state["head.sub_sc"]]))
    return F.cosine_similarity(torch.cat([nodes, nodes[:, of_sides]], 1), learnt[None], dim=-1)


def scattered(network: torch.nn.Module) -> State:
    """Weights at random, norms with statistics of their own."""
    state = network.state_dict()
    for key, value in state.items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif key.endswith("running_var") or (value.dim() == 1 and key.endswith("weight")):
            value.uniform_(0.5, 1.5)
        elif key.endswith("bias"):
            value.normal_(0, 0.1)
        elif "linear_" in key:
            value.mul_(4)  # so that attention prefers some places
    return state


def write(state: State, path: Path) -> Path:
    """As its authors' training writes it."""
    named = {f"module.{key}": value for key, value in state.items()}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))]).state_dict()
    torch.save({"epoch": 3, "state_dict": named, "optimizer": optimizer}, path)
    return path


@pytest.fixture(scope="module", params=[1, 2])
def published(request, tmp_path_factory) -> tuple[Path, State]:
    torch.manual_seed(request.param)
    state = scattered(OpenGraphAU(request.param, 18))
    return write(state, tmp_path_factory.mktemp("graphau") / "OpenGprahAU-ResNet18.pth"), state


def test_the_numbers_are_those_of_the_layers_written_out(published):
    path, state = published
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        found = load_open_graph_au(path).double().read(images)
        expected = open_graph_au({key: value.double() for key, value in state.items()}, images)
    assert found.shape == (2, 41)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert found.min() >= 0 and found.max() <= 1
    # Neither picture nor unit is like another.
    assert found.std(dim=1).min() > 0.01 and (found[0] - found[1]).abs().max() > 1e-4


def test_the_name_of_an_asset_or_a_path_loads_it_frozen(published, own_assets_root):
    path, _ = published
    place = own_assets_root / "opengraphau" / "OpenGprahAU-ResNet50_second_stage.pth"
    with pytest.raises(UserError, match=f"opengraphau.*MIT.*get it from https.*{place.name}"):
        load_unit_reader("opengraphau")
    place.parent.mkdir()
    place.symlink_to(path)
    network = load_unit_reader("opengraphau")
    assert isinstance(network, OpenGraphAU) and not network.training
    assert not any(p.requires_grad for p in network.parameters())
    images = torch.rand(1, 3, 80, 70).mul(2).sub(1).requires_grad_()
    read = network(images)
    assert read.shape == (1, 2, N) and network.units == UNITS and network.input_px == 256
    assert read.min() >= 0 and read.max() <= 5
    read.sum().backward()
    assert images.grad.abs().sum() > 0


def test_units_are_those_of_facs_each_once():
    assert len(UNITS) == len(set(UNITS)) == N and set(UNITS) <= set(ACTION_UNITS)
    assert set(SIDED) <= set(UNITS)


def test_the_middle_of_the_picture_goes_in_as_imagenet_is(monkeypatch):
    network, seen = OpenGraphAU(1, 18).eval(), []
    monkeypatch.setattr(network, "read", lambda x: seen.append(x) or torch.zeros(len(x), 41))
    images = torch.full((1, 3, 256, 256), -1.0)
    images[..., 16:240, 16:240] = 1.0
    network(images)
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(seen[0], white.view(1, 3, 1, 1).expand(1, 3, 224, 224))


def test_sides_are_what_the_whole_shows_less_what_the_other_shows_alone(monkeypatch):
    network = OpenGraphAU(1, 18).eval()
    likely = torch.zeros(4, 41)
    one, twelve, five = (UNITS.index(unit) for unit in ("AU1", "AU12", "AU5"))
    left_of = {unit: N + 2 * place for place, unit in enumerate(SIDED)}
    likely[0, one] = 0.8  # both halves
    likely[1, [one, left_of["AU1"]]] = torch.tensor([0.8, 0.7])  # the left alone
    likely[2, [twelve, left_of["AU12"] + 1]] = torch.tensor(
        [0.1, 0.9]
    )  # AU12's whole leaves it out
    likely[3, five] = 0.6  # has no sides
    monkeypatch.setattr(network, "read", lambda _: likely)
    read = network(torch.zeros(4, 3, 8, 8))
    expected = torch.zeros(4, 2, N)
    expected[0, :, one] = 4.0
    expected[1, :, one] = torch.tensor([4.0, 0.5])
    expected[2, :, twelve] = torch.tensor([0.0, 4.5])
    expected[3, :, five] = 3.0
    torch.testing.assert_close(read, expected)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_file_on_a_resnet_50_has_its_keys(stage):
    with torch.device("meta"):
        keys = {key: value.shape for key, value in OpenGraphAU(stage, 50).state_dict().items()}
    assert keys["backbone.layer3.5.conv3.weight"] == (1024, 256, 1, 1)
    assert keys["global_linear.fc.weight"] == (512, 2048)
    assert keys["head.main_class_linears.26.fc.weight"] == (512, 512)
    assert keys["head.main_sc"] == (27, 512) and keys["head.sub_sc"] == (14, 512)
    assert not any(key.startswith("backbone.fc") for key in keys)
    if stage == 1:
        assert keys["head.gnn.U.weight"] == (512, 512) and keys["head.gnn.bnv.weight"] == (27,)
    else:
        assert keys["head.edge_extractor.ARM.linear_q.weight"] == (256, 512)
        assert keys["head.edge_extractor.bn.weight"] == (729,)
        assert keys["head.gnn.graph_layers.1.bne.weight"] == (729,)
        assert "head.gnn.graph_layers.0.E.bias" not in keys


@pytest.mark.parametrize("change", ["missing", "foreign", "shape"])
def test_whatever_does_not_fit_is_refused(published, tmp_path, change):
    state = dict(published[1])
    if change == "missing":
        del state["head.sub_sc"]
    elif change == "foreign":
        state["head.edge_fc.weight"] = torch.zeros(4, 128)
    else:
        state["head.sub_sc"] = torch.zeros(12, 128)
    named = "edge_fc" if change == "foreign" else "head.sub_sc"
    with pytest.raises(
        UserError, match=f"does not fit: .*{named}.*ResNet50_second_stage"
    ) as caught:
        load_open_graph_au(write(state, tmp_path / "torn.pth"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "stored", [{"state_dict": {"backbone.patch_embed.proj.weight": torch.zeros(1)}}, {}, [1]]
)
def test_other_backbones_and_other_files_are_refused(tmp_path, stored):
    torch.save(stored, tmp_path / "other.pth")
    with pytest.raises(UserError, match="OpenGraphAU on a ResNet|not a checkpoint"):
        load_open_graph_au(tmp_path / "other.pth")


def test_the_optimiser_beside_the_weights_is_no_weight(published):
    stored = read_checkpoint(published[0])
    assert set(stored) == {"epoch", "state_dict", "optimizer"}
    assert set(load_open_graph_au(published[0]).state_dict()) == set(published[1])
