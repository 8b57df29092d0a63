"""Pushing to a hub: against its client's own signatures, with nothing sent."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import create_autospec

import pytest
from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.errors import LocalTokenNotFoundError

from sfe_core.errors import RunError, UserError
from sfe_core.packaging.hub import check_repository, push_package


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "provenance.json").write_text("{}")
    return tmp_path


@pytest.fixture
def api() -> HfApi:
    """The client, holding no repository yet; a call with wrong arguments is a TypeError."""
    api = create_autospec(HfApi, instance=True)
    api.repo_exists.return_value = False
    commit = create_autospec(CommitInfo, instance=True)
    commit.commit_url = "https://hub/me/faces/commit/1"
    api.upload_folder.return_value = commit
    return api


def test_a_new_repository_is_private_and_gets_one_commit(package, api):
    assert push_package(package, "me/faces", api=api) == "https://hub/me/faces/commit/1"
    api.create_repo.assert_called_once_with("me/faces", private=True, exist_ok=True)
    assert api.upload_folder.call_args.kwargs["folder_path"] == package
    assert api.upload_folder.call_args.kwargs["delete_patterns"] is None
    push_package(package, "me/faces", public=True, api=api)
    assert api.create_repo.call_args.kwargs["private"] is False


def test_what_a_repository_holds_is_replaced_only_when_forced(package, api):
    api.repo_exists.return_value = True
    api.list_repo_files.return_value = [".gitattributes", "README.md", "unet/config.json"]
    with pytest.raises(UserError, match="holds 2 files already, such as README.md; .*--force"):
        push_package(package, "me/faces", api=api)
    api.upload_folder.assert_not_called()
    push_package(package, "me/faces", force=True, api=api)
    assert api.upload_folder.call_args.kwargs["delete_patterns"] == ["*"]


def test_an_empty_repository_is_filled(package, api):
    api.repo_exists.return_value = True
    api.list_repo_files.return_value = [".gitattributes"]
    push_package(package, "me/faces", api=api)
    api.upload_folder.assert_called_once()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LocalTokenNotFoundError("none"), "hf auth login"),
        (ConnectionError("no route\nmore"), "was not uploaded \\(no route\\); the package stands"),
        (RuntimeError(), "was not uploaded \\(RuntimeError\\)"),
    ],
)
def test_what_the_hub_refuses_is_one_line(package, api, error, said):
    api.upload_folder.side_effect = error
    with pytest.raises(RunError, match=said):
        push_package(package, "me/faces", api=api)


@pytest.mark.parametrize("name", ["faces", "a/b/c", "me/", "me/fa ces", "", "me/--x"])
def test_a_wrong_name_is_refused_before_anything_is_asked(package, api, name):
    with pytest.raises(UserError, match="--push-to"):
        push_package(package, name, api=api)
    assert not api.method_calls
    assert check_repository("me/faces-1.0") == "me/faces-1.0"


def test_only_a_package_is_pushed(tmp_path, api):
    with pytest.raises(UserError, match="is not a package"):
        push_package(tmp_path, "me/faces", api=api)
    assert not api.method_calls
