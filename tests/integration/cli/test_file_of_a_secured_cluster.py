"""raftq.toml with a token and a CA lets every kind of command in, and is carried nowhere else."""

from collections.abc import Generator
from pathlib import Path

import pytest
from tests.support.clusters import raftq_inside
from tests.support.secured import SecuredCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[SecuredCluster]:
    with SecuredCluster(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture
def here(cluster: SecuredCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose raftq.toml tells how the cluster is reached."""
    (tmp_path / "token").write_text(cluster.token)
    (tmp_path / "ca.crt").write_bytes(cluster.ca.read_bytes())
    (tmp_path / "raftq.toml").write_text(
        f'addresses = "{cluster.addresses}"\ntoken_file = "token"\ntls_ca = "ca.crt"\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tasks_the_live_view_and_backups_work_with_the_file_alone(here: Path) -> None:
    assert raftq_inside("enqueue", "mail", "x").code == 0
    shown = raftq_inside("top", "--once", "--interval", "200ms")
    assert (shown.code, shown.err) == (0, "") and "no answer" not in shown.out
    taken = raftq_inside("backup", str(here / "a.backup"))
    assert taken.code == 0, taken.err


def test_with_an_address_of_its_own_a_command_is_a_stranger(
    cluster: SecuredCluster, here: Path
) -> None:
    short = ("--timeout", "1s")
    elsewhere = raftq_inside("queue", "list", "--address", cluster.addresses, *short)
    assert elsewhere.code != 0 and elsewhere.out == "", "neither TLS nor a token"
    elsewhere = raftq_inside("queue", "list", *short, RAFTQ_ADDRESSES=cluster.addresses)
    assert elsewhere.code != 0


def test_a_wrong_token_in_the_file_is_told_with_where_it_came_from(here: Path) -> None:
    (here / "token").write_text("rq_wrong")
    refused = raftq_inside("queue", "list")
    assert (refused.code, refused.out) == (5, "") and "raftq config show" in refused.err
