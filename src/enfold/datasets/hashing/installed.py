"""Which code is the user's own, and which an installed package's, trusted to be what its version says."""

import functools
import importlib.metadata
import importlib.util
import sys
import sysconfig
from pathlib import Path
from typing import Any


def named(module: Any, name: str) -> str | None:
    """The version of the package that defines `module.name`; None for the user's own code and for what has no name."""
    if not isinstance(module, str) or "<locals>" in name or "<lambda>" in name:
        return None
    return installed_version(module.partition(".")[0])


@functools.cache
def installed_version(package: str) -> str | None:
    """The version of a top-level package, of Python for its standard library, None for the user's own code."""
    if package == "__main__":
        return None
    if package in sys.stdlib_module_names:
        return f"python {sys.version_info[0]}.{sys.version_info[1]}"
    if package == "enfold":  # also where its sources are installed in place
        return _version(package)
    loaded = sys.modules.get(package)
    where = getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), None)
    if where is None and (spec := find_spec(package)) is not None:
        where = spec.origin
    if where is None or not _is_installed(Path(where)):
        return None
    return _version(package)


def find_spec(module: str) -> Any:
    """Where `module` would be imported from; None if nowhere."""
    try:
        return importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None


def _is_installed(where: Path) -> bool:
    homes = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return any(map(where.is_relative_to, homes)) or not {"site-packages", "dist-packages"}.isdisjoint(where.parts)


def _version(package: str) -> str:
    declared = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(declared, str):
        return str(declared)
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, ())
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names))) or "unknown"
