"""Snapshots on their way to followers, which survive a pause.

PySyncObj gives a snapshot's transmission up whenever it may not send to the follower. Here that is
also so while too many bytes wait for it: a snapshot that is larger than what may wait would begin
again and again, and never arrive. So a transmission ends with its connection, or when it is done.
"""

import pysyncobj.syncobj as pysyncobj_module
from pysyncobj.node import Node
from pysyncobj.serializer import Serializer


class LastingSerializer(Serializer):
    """PySyncObj's serializer, without its giving up."""

    def cancelTransmisstion(self, id: Node) -> None:
        """Do nothing: PySyncObj calls it for each follower that it may not send to just now."""

    def end_transmission(self, node: Node) -> None:
        """Begin with the start of the snapshot when it is sent to a node again."""
        super().cancelTransmisstion(node)


class Transmissions:
    """The serializer of one PySyncObj, which is made in the middle of its constructor."""

    def __init__(self) -> None:
        self._serializer: LastingSerializer | None = None

    def install(self) -> None:
        """Have the next PySyncObj that is constructed use a serializer of ours."""
        pysyncobj_module.Serializer = self._make

    def _make(self, *settings: object) -> LastingSerializer:
        self._serializer = LastingSerializer(*settings)
        return self._serializer

    def end(self, node: Node) -> None:
        """The connection to a node is gone."""
        assert self._serializer is not None
        self._serializer.end_transmission(node)
