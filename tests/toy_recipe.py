"""A recipe in forty-six lines: two layers learn a plane. `recipe: path/to/toy_recipe.py`."""

from types import MappingProxyType

import torch
from torch import nn

from sfe_core.config.sections import Section
from sfe_core.files import derive_seed
from sfe_core.losses.composite import LossTerms
from sfe_core.training.contract import Checked, RecipeSpec, Samples
from sfe_core.training.network import Network


class Options(Section):  # `recipe_options` of sfe.yaml
    slope: float = 2.0


class Chain(nn.ModuleDict):
    def forward(self, x):
        return self["second"](self["first"](x).tanh()).squeeze(1)


def layer(like):
    return nn.Linear(like.in_features, like.out_features)


class Toy:
    networks = tuple(Network(name, name, name, empty=layer) for name in ("first", "second"))
    must_match = MappingProxyType({})
    assemble = Chain  # a model out of networks by their attribute

    def __init__(self, workspace, accelerator, images, reporter):
        self.seed = workspace.config.train.seed
        self.slope = Options(**workspace.config.recipe_options).slope
        torch.manual_seed(self.seed)
        self.model = Chain({"first": nn.Linear(4, 8), "second": nn.Linear(8, 1)})
        self.model.to(accelerator.device)

    def draw(self, step, first, count):
        return [derive_seed(self.seed, step, place) for place in range(count)]

    def batches(self, wanted):
        for seeds in wanted:
            made = [torch.Generator().manual_seed(seed) for seed in seeds]
            yield torch.stack([torch.randn(4, generator=generator) for generator in made])

    def terms(self, update):
        return ("error",)

    def loss(self, model, batch, draws, update):
        error = (model(batch) - self.slope * batch.sum(1)).square().sum() / len(update)
        return LossTerms(error, {"error": error.detach()}, {"error": error.detach()})

    def samples(self, model, stopped):
        return Samples({"at_one": model(torch.ones(1, 4)).item()})

    def save_beside(self, folder):
        (folder / "slope.txt").write_text(str(self.slope))


def check(workspace):
    with torch.device("meta"):
        model = Chain({"first": nn.Linear(4, 8), "second": nn.Linear(8, 1)})
    return Checked(model, images=1000, data_sha256="of a plane", told={"learns": "a plane"})


SPEC = RecipeSpec("toy", check, Toy, Options, best={"at_one": True}, blocks=("Linear",))
