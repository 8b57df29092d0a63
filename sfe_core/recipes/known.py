"""The recipes there are, by the name that sfe.yaml gives; and those of your own, by their file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.training.contract import RecipeSpec

# Name to the module whose SPEC it is: a recipe is one line here and one file beside this one.
RECIPES = {
    "stableface": "sfe_core.recipes.stableface",
    "action-units": "sfe_core.recipes.action_units",
    "expressions": "sfe_core.recipes.expression_embeddings",
    "personal": "sfe_core.recipes.personal",
    "physical": "sfe_core.recipes.physical",
    "tiny-base": "sfe_core.recipes.tiny_base",
}


def recipe_of(workspace: Workspace) -> RecipeSpec:
    """The recipe that `recipe` of sfe.yaml names, its options checked.

    A value that ends in `.py` is the path of a file of your own, from the workspace; it is run as
    any Python file is, so take only one that you trust.

    Raises:
        UserError: there is none of that name, the file cannot be run or holds no SPEC, or
            `recipe_options` do not suit it.
    """
    name = workspace.config.recipe
    if name.endswith(".py"):
        path = workspace.root / Path(name).expanduser()
        if not path.is_file():
            raise UserError(f"recipe: {path}", "does not exist", "give the path from the workspace")
        module = _load(path, path.stat().st_mtime_ns)
    elif name in RECIPES:
        module = importlib.import_module(RECIPES[name])
    else:
        known = ", ".join(RECIPES)
        raise UserError("recipe", f"{name!r} is not known", f"give one of {known}, or a .py file")
    spec = getattr(module, "SPEC", None)
    if not isinstance(spec, RecipeSpec):
        raise UserError(
            f"recipe: {name}", "holds no SPEC", "end the file with SPEC = RecipeSpec(…)"
        )
    try:
        spec.options.model_validate(workspace.config.recipe_options)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        allowed = ", ".join(spec.options.model_fields) or "none"
        raise UserError(
            f"recipe_options.{field}", problem["msg"], f"{spec.name} has: {allowed}"
        ) from error
    return spec


@cache
def _load(path: Path, changed_at: int) -> ModuleType:
    """Run a file, once however often it is asked for, unless it has changed meanwhile."""
    del changed_at
    name = f"sfe_recipe_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None  # of a .py file there always is one
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # as dataclasses look their module up
    try:
        found.loader.exec_module(module)
    except Exception as error:  # whatever a file of somebody's own raises
        raise UserError(
            f"recipe: {path}", f"cannot be run ({type(error).__name__}: {error})", "mend the file"
        ) from error
    return module
