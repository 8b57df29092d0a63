"""Downloads from a server on this machine: whole, resumed, wrong, absent."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sfe_core.assets.fetch import fetch_asset
from sfe_core.assets.registry import Asset, AssetFile, registry
from sfe_core.assets.verify import git_blob_sha1, verify_assets
from sfe_core.errors import RunError, UserError
from sfe_core.files import TEMPORARY_MARK
from tests.listening import Listener

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves BODY with ranges; `cut` bytes end an answer early, as a lost connection does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.cut: int | None = None
        self.honours_ranges = True
        self.announced: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.path != "/model.bin":
            self.send_error(404)
            return
        begin = 0
        if wanted and self.server.honours_ranges:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(BODY):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(200)
        rest = BODY[begin:]
        self.send_header("Content-Length", str(len(rest)))
        if self.server.announced:
            self.send_header("X-Linked-ETag", f'"{self.server.announced}"')
        self.end_headers()
        self.wfile.write(rest[: self.server.cut])

    def log_message(self, *args: object) -> None:
        del args


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


def asset(url: str, **known: object) -> Asset:
    file = AssetFile(path="sub/model.bin", url=url, **known)  # type: ignore[arg-type]
    return Asset("some", "test", "none", "https://example.org", "some", (file,))


def test_a_whole_file_is_put_in_place(server, own_assets_root):
    one = asset(server.url, size=len(BODY), sha256=SHA256)
    assert fetch_asset(one) == [own_assets_root / "some/sub/model.bin"]
    assert (own_assets_root / "some/sub/model.bin").read_bytes() == BODY
    assert fetch_asset(one) == []
    assert len(server.ranges) == 1


def test_a_cut_download_is_kept_and_resumed(server, own_assets_root):
    one = asset(server.url, size=len(BODY), sha256=SHA256)
    server.cut = 300_000
    with pytest.raises(RunError, match="bytes are kept; run `sfe assets fetch some` again"):
        fetch_asset(one)
    folder = own_assets_root / "some/sub"
    assert [path.name for path in folder.iterdir()] == [f"{TEMPORARY_MARK}model.bin"]
    kept = (folder / f"{TEMPORARY_MARK}model.bin").stat().st_size
    assert 200_000 < kept <= 300_000
    server.cut = None
    fetch_asset(one)
    assert server.ranges == [None, f"bytes={kept}-"]
    assert [path.name for path in folder.iterdir()] == ["model.bin"]
    assert (folder / "model.bin").read_bytes() == BODY


def test_a_server_without_ranges_starts_over(server, own_assets_root):
    one = asset(server.url, sha256=SHA256)
    server.cut = 1000
    with pytest.raises(RunError):
        fetch_asset(one)
    server.cut, server.honours_ranges = None, False
    fetch_asset(one)
    assert (own_assets_root / "some/sub/model.bin").read_bytes() == BODY


def test_a_download_that_was_whole_but_not_yet_in_place_is_finished(server, own_assets_root):
    partial = own_assets_root / "some/sub" / f"{TEMPORARY_MARK}model.bin"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(BODY)
    fetch_asset(asset(server.url, sha256=SHA256))
    assert (own_assets_root / "some/sub/model.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    "known",
    [{"sha256": "0" * 64}, {"git_sha1": "0" * 40}, {"size": len(BODY) - 1, "sha256": SHA256}],
    ids=["sha256", "git", "size"],
)
def test_wrong_bytes_are_refused_and_not_kept(server, own_assets_root, known):
    with pytest.raises(RunError, match="expected"):
        fetch_asset(asset(server.url, **known))
    assert list((own_assets_root / "some/sub").iterdir()) == []


def test_a_checksum_that_the_hub_announces_counts(server, own_assets_root):
    server.announced = "f" * 64
    with pytest.raises(RunError, match="f" * 64):
        fetch_asset(asset(server.url))
    server.announced = SHA256
    assert fetch_asset(asset(server.url))


def test_an_address_that_is_gone_and_a_host_that_is_not_there(server):
    with pytest.raises(RunError, match="404"):
        fetch_asset(asset(server.url.replace("model", "other")))
    with pytest.raises(RunError, match="could not be read"):
        fetch_asset(asset("http://127.0.0.1:9/model.bin"))


def test_progress_adds_up_to_the_size(server):
    listener = Listener()
    fetch_asset(asset(server.url), listener)
    assert listener.done == listener.totals and list(listener.done.values()) == [len(BODY)]


def test_gated_assets_are_not_downloaded():
    with pytest.raises(UserError, match="accept its licence"):
        fetch_asset(registry()["flame-2020"])


def test_verify_tells_missing_wrong_size_wrong_sum_and_ok(server, own_assets_root):
    one = asset(server.url, size=len(BODY), sha256=SHA256)
    assert verify_assets([one])[0].verdict == "missing"
    fetch_asset(one)
    assert verify_assets([one])[0].verdict == "ok"
    path = own_assets_root / "some/sub/model.bin"
    path.write_bytes(BODY[:-1])
    assert verify_assets([one])[0].verdict == "wrong size"
    path.write_bytes(BODY[:-1] + b"\0")
    assert verify_assets([one])[0].verdict == "wrong checksum"


def test_verify_records_an_unknown_checksum_once_and_compares_afterwards(server, own_assets_root):
    one = asset(server.url)
    fetch_asset(one)
    assert [check.verdict for check in verify_assets([one])] == ["recorded"]
    assert [check.verdict for check in verify_assets([one])] == ["ok"]
    (own_assets_root / "some/sub/model.bin").write_bytes(b"other")
    assert [check.verdict for check in verify_assets([one])] == ["wrong checksum"]


def test_git_blob_digest_of_a_known_blob(tmp_path):
    # The id that git gives to a file holding "hello\n".
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert git_blob_sha1(tmp_path / "hello") == "ce013625030ba8dba906f756967f9e9ca394464a"
