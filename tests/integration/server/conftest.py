"""One cluster of three real nodes for all tests of this folder."""

from collections.abc import Iterator

import pytest
from tests.support.nodes import follower_of

from raftq.cli.local_cluster import LocalCluster, NodeProcess


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three nodes that nobody kills."""
    with LocalCluster(tmp_path_factory.mktemp("server")) as cluster:
        yield cluster


@pytest.fixture(params=["leader", "follower"])
def node(request: pytest.FixtureRequest, cluster: LocalCluster) -> NodeProcess:
    """The leader, and then a follower: every node serves every call."""
    return cluster.wait_leader() if request.param == "leader" else follower_of(cluster)


@pytest.fixture
def leader(cluster: LocalCluster) -> NodeProcess:
    return cluster.wait_leader()
