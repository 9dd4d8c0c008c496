from collections.abc import Callable

from pysyncobj.node import Node

atomicReplace: Callable[[str, str], None]

class Serializer:
    def __init__(self, *settings: object) -> None: ...
    def cancelTransmisstion(self, id: Node) -> None: ...
