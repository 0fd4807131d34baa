"""Names that load their module on first use, so that `import enfold` costs nothing."""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from enfold.base.errors import MissingDependencyError, NotBuiltError


def lazy_names(
    package: str, where: Mapping[str, str], *, not_built: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for a package whose public names live in other modules (PEP 562).

    Args:
        package: the package's `__name__`.
        where: public name → module that defines it; a module of that name stands for itself.
        not_built: names of the reference libraries that are planned → the room they will live in.
    """
    planned = not_built or {}

    def get(name: str) -> Any:
        if name in where:
            module = importlib.import_module(where[name])
            value = module if where[name].rpartition(".")[2] == name else getattr(module, name)
            setattr(sys.modules[package], name, value)
            return value
        if name in planned:
            raise NotBuiltError(f"{package}.{name} is not built yet (it will live in {planned[name]}).")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*where, *vars(sys.modules[package])})

    return get, names


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the package {module!r}, which is not installed: pip install 'enfold[{extra}]'"
        ) from error


def room_not_built(package: str) -> Callable[[str], Any]:
    """`__getattr__` for a room that is planned: every public name raises an error that says so."""

    def refuse(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        raise NotBuiltError(f"{package}.{name} is not built yet: the room {package} is planned, and empty so far.")

    return refuse
