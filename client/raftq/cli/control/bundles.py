"""Options that come together: a command names the bundle as one parameter.

typer reads options from a command's signature. A bundle is a parameter of the function that stands
for several options; what is shown to typer has these in its place.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def bundled(
    command: Callable[..., None],
    name: str,
    options: Mapping[str, tuple[Any, object]],
    read: Callable[[dict[str, Any]], object],
) -> Callable[..., None]:
    """Return a command with options in the place of one of its parameters.

    Args:
        command: The command.
        name: Of the parameter.
        options: Parameter → annotation and default.
        read: Makes the parameter's value of those of the options.
    """
    own = inspect.signature(command, eval_str=True)

    def wrapped(**given: Any) -> None:
        told = {option: given.pop(option) for option in options}
        command(**{name: read(told)}, **given)

    parameters: list[inspect.Parameter] = []
    for each in own.parameters.values():
        if each.name == name:
            parameters += [
                inspect.Parameter(
                    option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
                for option, (annotation, default) in options.items()
            ]
        else:
            parameters.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    wrapped.__name__ = command.__name__
    wrapped.__doc__ = command.__doc__
    wrapped.__annotations__ = {}
    wrapped.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it, and typing does not know it.
    return wrapped
