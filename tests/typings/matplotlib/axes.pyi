from collections.abc import Sequence

class Axes:
    def plot(
        self, x: Sequence[float], y: Sequence[float], *, marker: str = ..., label: str = ...
    ) -> object: ...
    def set(
        self,
        *,
        title: str = ...,
        xlabel: str = ...,
        ylabel: str = ...,
        xscale: str = ...,
        yscale: str = ...,
        ylim: tuple[float, float | None] = ...,
    ) -> object: ...
    def legend(self) -> object: ...
    def grid(self, visible: bool, *, alpha: float) -> None: ...
