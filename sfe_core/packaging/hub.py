"""A package uploaded to a model hub, never over what lies there unless told to."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id

from sfe_core.errors import RunError, SfeError, UserError
from sfe_core.packaging.listing import PROVENANCE

# What the hub itself puts into a new repository.
_NOT_THE_USERS = {".gitattributes"}


def check_repository(name: str) -> str:
    """Return a repository's name, or say what is wrong with it; asks nobody.

    Raises:
        UserError: it is not `owner/name` in the hub's characters.
    """
    try:
        validate_repo_id(name)
        if name.count("/") != 1:
            raise HFValidationError("no owner")
    except HFValidationError as error:
        raise UserError(
            "--push-to", f"{name!r} is not a repository ({error})", "give owner/name"
        ) from (error)
    return name


def push_package(
    folder: Path,
    repository: str,
    public: bool = False,
    force: bool = False,
    api: HfApi | None = None,
) -> str:
    """Upload a package as one commit.

    Args:
        folder: a whole package.
        repository: `owner/name`; made if there is none.
        public: whether a repository made now can be seen by all.
        force: replace what the repository holds; its history keeps it.
        api: None = the hub that huggingface_hub is configured for, with the user's own token.

    Returns:
        Address of the commit.

    Raises:
        UserError: the name is wrong, the folder is no package, or the repository holds files.
        RunError: no token, no connection, no right to write, or the hub refuses.
    """
    check_repository(repository)
    if not (folder / PROVENANCE).is_file():
        raise UserError(
            folder, f"is not a package (no {PROVENANCE})", "run `sfe package-checkpoint`"
        )
    api = api or HfApi()
    try:
        if api.repo_exists(repository):
            held = sorted(set(api.list_repo_files(repository)) - _NOT_THE_USERS)
            if held and not force:
                raise UserError(
                    f"--push-to {repository}",
                    f"holds {len(held)} files already, such as {held[0]}",
                    "replace them with --force, or give another repository",
                )
        api.create_repo(repository, private=not public, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=f"Upload {folder.name}, packaged by sfe",
            delete_patterns=["*"] if force else None,
        )
    except SfeError:
        raise
    except LocalTokenNotFoundError as error:
        raise RunError(
            "--push-to", "no access token for the hub", "`hf auth login` first"
        ) from error
    except Exception as error:  # the client lets its HTTP library's errors through
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RunError(
            f"--push-to {repository}",
            f"was not uploaded ({said})",
            f"the package stands at {folder}: see to connection and token, and push again",
        ) from error
    return str(done.commit_url)
