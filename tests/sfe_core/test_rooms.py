"""The order of the rooms, read off every import statement, wherever in a file it stands."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Data walks down it once: a room imports only rooms above it.
ROOMS = (
    "the flat files", "processes", "config", "assets", "faces", "controls", "synthesis", "corpus",
    "diffusion", "losses", "training", "recipes", "runs", "packaging", "sampling", "evaluation",
    "the public API", "sfe_cli",
)  # fmt: skip
# With them a script that is run once per release, and that nothing imports.
PUBLIC_API = (
    "sfe_core",
    "sfe_core.demo",
    "sfe_core.doctor",
    "sfe_core.synthesis.tiny.build",
    "sfe_core.synthesis.tiny.emotions",
    "sfe_core.synthesis.tiny.rig",
)

# What the engine of every recipe must not know, not even through others.
NOT_FOR_THE_ENGINE = ("corpus", "diffusion", "losses", "recipes")
# Where packaging and evaluation learn what recipes there are.
KNOWN_RECIPES = ("sfe_core.recipes", "sfe_core.recipes.known", "sfe_core.recipes.shared")

Edge = tuple[str, str]


@cache
def imports() -> dict[str, frozenset[str]]:
    """Every module of both packages with those of them that it imports."""
    files = {_name(path): path for top in ("sfe_core", "sfe_cli") for path in _sources(top)}
    return {name: frozenset(_imported(path, set(files)) - {name}) for name, path in files.items()}


def _sources(top: str) -> Iterator[Path]:
    return (ROOT / top).rglob("*.py")


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(path: Path, modules: set[str]) -> set[str]:
    found = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            # Bare `import sfe_core` asks for the version or the place on disk.
            found |= {alias.name for alias in node.names} - {"sfe_core"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                # The version is a fact about the package, no part of what it offers.
                if inner != "sfe_core.__version__":
                    found.add(inner if inner in modules else str(node.module))
    return found & modules | {name for name in found if name.split(".")[0] == "typer"}


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below, but for those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from _statements(child)


def room(module: str) -> str:
    """Which of `ROOMS` a module stands in."""
    if module in PUBLIC_API:
        return "the public API"
    parts = module.split(".")
    if parts[0] == "sfe_cli":
        return "sfe_cli"
    return parts[1] if parts[1] in ROOMS else "the flat files"


def edges() -> Iterator[Edge]:
    return ((name, other) for name, others in imports().items() for other in others)


def line(edge: Edge) -> str:
    return " -> ".join(name.removeprefix("sfe_core.") for name in edge)


def in_lines(found: set[str]) -> str:
    return "imports that should not be:\n" + "\n".join(sorted(found))


def test_every_folder_is_a_room() -> None:
    core = ROOT / "sfe_core"
    folders = {path.parent.name for path in core.glob("*/__init__.py")}
    assert folders == {name for name in ROOMS if (core / name).is_dir()}
    assert len(imports()) > 300


def test_a_room_imports_only_rooms_above_it() -> None:
    known = [edge for edge in edges() if edge[1] in imports()]
    wrong = [edge for edge in known if ROOMS.index(room(edge[0])) < ROOMS.index(room(edge[1]))]
    assert not wrong, in_lines(set(map(line, wrong)))


def test_no_circles_between_modules_nor_between_sub_rooms() -> None:
    modules = {name: set(others) & set(imports()) for name, others in imports().items()}
    units: dict[str, set[str]] = {}
    for name, others in modules.items():
        units.setdefault(_unit(name), set()).update({_unit(other) for other in others})
    from_module, from_unit = _reached(modules), _reached(units)
    found = {
        line((name, other))
        for name, others in modules.items()
        for other in others
        if name in from_module[other]
        or (_unit(name) != _unit(other) and _unit(name) in from_unit[_unit(other)])
    }
    assert not found, in_lines(found)


def _unit(module: str) -> str:
    """The sub-room of a module, or the module itself where it stands in a room's own folder."""
    if module in PUBLIC_API:
        return module
    sub_room = ".".join(module.split(".")[:3])
    return sub_room if (ROOT / sub_room.replace(".", "/")).is_dir() else module


def _reached(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """What each member of a graph leads to, itself included."""
    reached = {}
    for start in graph:
        found, ahead = {start}, [start]
        while ahead:
            new = graph[ahead.pop()] - found
            found |= new
            ahead += new
        reached[start] = found
    return reached


def test_the_engine_reaches_no_recipe_and_nothing_that_only_recipes_need() -> None:
    reached = [name for name in imports() if name.startswith("sfe_core.training.engine")]
    crossings = set()
    for name in reached:  # grows while it is walked
        for other in imports()[name] & set(imports()):
            if room(other) in NOT_FOR_THE_ENGINE:
                crossings.add(line((name, other)))
            elif other not in reached:
                reached.append(other)
    assert not crossings, in_lines(crossings)


@pytest.mark.parametrize("from_room", ["packaging", "evaluation"])
def test_no_recipe_is_known_by_name(from_room: str) -> None:
    named = [
        line((name, other))
        for name, other in edges()
        if room(name) == from_room
        and room(other) == "recipes"
        and _unit(other) not in KNOWN_RECIPES
    ]
    assert not named


def test_the_core_knows_no_command_line() -> None:
    outside = [edge for edge in edges() if edge[1].split(".")[0] in ("sfe_cli", "typer")]
    assert not [line(edge) for edge in outside if edge[0].split(".")[0] == "sfe_core"]
