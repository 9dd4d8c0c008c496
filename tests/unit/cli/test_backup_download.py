"""Fetching a backup: the whole of a good one, or nothing; and tried again when that may help."""

import json
import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer

from raftq.cli.backup_download import download
from raftq.storage.backups import BackupMeta, encode_backup

META = BackupMeta(7, 3, "beef", "cafe", "n1", 1_700_000_000_000, "0.1.0")
WHOLE = b"".join(encode_backup(META, [b"x" * 1_000, b"y" * 1_000]))
FACTS = {
    **{"bytes": len(WHOLE), "index": 7, "state_hash": "beef", "cluster_id": "cafe"},
    **{"node": "n1", "taken_at_ms": 1_700_000_000_000},
}
Answer = Callable[[BaseHTTPRequestHandler], None]


def whole(handler: BaseHTTPRequestHandler) -> None:
    send_chunks(handler, WHOLE, is_ended=True)


def cut(handler: BaseHTTPRequestHandler) -> None:
    send_chunks(handler, WHOLE[:500], is_ended=False)


def shortened(handler: BaseHTTPRequestHandler) -> None:
    """A proxy that ends a broken answer politely."""
    send_chunks(handler, WHOLE[:-1], is_ended=True)


def damaged(handler: BaseHTTPRequestHandler) -> None:
    send_chunks(handler, WHOLE[:700] + b"?" + WHOLE[701:], is_ended=True)


def something_else(handler: BaseHTTPRequestHandler) -> None:
    send_chunks(handler, b"<html>login</html>", is_ended=True)


def refusal(status: int, code: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = json.dumps({"code": code, "detail": f"said {code}"}).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def send_chunks(handler: BaseHTTPRequestHandler, data: bytes, *, is_ended: bool) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(data), 300):
        piece = data[start : start + 300]
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    if is_ended:
        handler.wfile.write(b"0\r\n\r\n")
    handler.close_connection = True


class Node:
    """A node that answers each request as it is told, the last way for ever."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str | None]] = []
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                node.requests.append((self.path, self.headers["Authorization"]))
                answers = node.answers
                (answers.pop(0) if len(answers) > 1 else answers[0])(self)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def node() -> Generator[Node]:
    node = Node()
    yield node
    node.close()


def fetch(node: Node, file: Path, timeout: float = 20.0) -> dict[str, object]:
    return download(file, lambda: [node.address], "linearizable", timeout)


def test_a_whole_backup_takes_its_name(node: Node, tmp_path: Path) -> None:
    node.answers = [whole]
    assert fetch(node, tmp_path / "a") == {"file": str(tmp_path / "a"), **FACTS}
    assert (tmp_path / "a").read_bytes() == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert node.requests[0][0].startswith("/v1/backup?consistency=linearizable&timeout_ms=")


@pytest.mark.parametrize("answer", [cut, shortened, damaged, something_else])
def test_anything_but_a_whole_backup_is_fetched_again_from_the_start(
    node: Node, tmp_path: Path, answer: Answer
) -> None:
    node.answers = [answer, refusal(503, "no_leader"), refusal(429, "rate_limited"), whole]
    fetch(node, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == WHOLE
    assert len(node.requests) == 4


@pytest.mark.parametrize("answer", [cut, damaged, refusal(503, "not_ready")])
def test_when_time_is_up_nothing_is_left(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer
) -> None:
    node.answers = [answer]
    with pytest.raises(typer.Exit) as caught:
        fetch(node, tmp_path / "a", timeout=0.5)
    assert caught.value.exit_code == 4
    assert "no backup could be taken in time; at last" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_that_stays_is_not_repeated(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.answers = [refusal(401, "forbidden")]
    with pytest.raises(typer.Exit) as caught:
        fetch(node, tmp_path / "a")
    assert caught.value.exit_code == 5 and "said forbidden" in capsys.readouterr().err
    assert len(node.requests) == 1 and list(tmp_path.iterdir()) == []


def test_the_next_node_is_asked_when_one_is_gone(node: Node, tmp_path: Path) -> None:
    node.answers = [whole]
    gone = Node()
    gone.close()
    download(tmp_path / "a", lambda: [gone.address, node.address], "stale", 20.0)
    assert (tmp_path / "a").read_bytes() == WHOLE


def test_the_token_of_the_environment_is_sent(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAFTQ_TOKEN", "rq_secret")
    node.answers = [whole]
    fetch(node, tmp_path / "a")
    assert node.requests[0][1] == "Bearer rq_secret"


def test_two_commands_never_write_to_one_file(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def another(handler: BaseHTTPRequestHandler) -> None:
        with pytest.raises(typer.Exit):
            fetch(node, tmp_path / "a")
        whole(handler)

    node.answers = [another]
    fetch(node, tmp_path / "a")
    assert "another backup to" in capsys.readouterr().err
    assert (tmp_path / "a").read_bytes() == WHOLE


def test_what_an_earlier_command_left_behind_is_written_over(node: Node, tmp_path: Path) -> None:
    (tmp_path / "a.new").write_bytes(b"left behind" * 1_000)
    node.answers = [whole]
    fetch(node, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == WHOLE


def test_a_folder_that_cannot_be_written_is_named(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        fetch(node, tmp_path / "missing" / "a")
    assert caught.value.exit_code == 1 and "missing/a cannot be written" in capsys.readouterr().err
    assert node.requests == []
