"""A name and a revision → files on disk; tokens, listings and uploads.

The names of `huggingface_hub` are those of the official client itself: `hf_hub_download`, `snapshot_download`, `login`,
`whoami`, `HfApi` and every other one. It is imported when the first of them is used. What enfold adds is in `files`
(offline first, one error per cause) and `push`.
"""

from typing import TYPE_CHECKING

from enfold.base.lazy import lazy_names

if TYPE_CHECKING:
    from huggingface_hub import *  # noqa: F403 # pyright: ignore[reportWildcardImportFromLibrary]

    from enfold.hub.files import list_files, resolve_file, resolve_snapshot
    from enfold.hub.paths import safe_relative_path
    from enfold.hub.push import push_folder

_WHERE = {
    **{name: f"enfold.hub.{name}" for name in ("account", "cache", "files", "ids", "paths", "push", "remote")},
    "list_files": "enfold.hub.files",
    "push_folder": "enfold.hub.push",
    "resolve_file": "enfold.hub.files",
    "resolve_snapshot": "enfold.hub.files",
    "safe_relative_path": "enfold.hub.paths",
}
__all__ = ["list_files", "push_folder", "resolve_file", "resolve_snapshot", "safe_relative_path"]

_own, _own_names = lazy_names(__name__, _WHERE)


def __getattr__(name: str) -> object:
    if name in _WHERE or name.startswith("__"):
        return _own(name)
    import huggingface_hub

    try:
        value = getattr(huggingface_hub, name)
    except AttributeError:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}, nor has huggingface_hub {huggingface_hub.__version__}"
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    import huggingface_hub

    return sorted({*_own_names(), *huggingface_hub.__all__})
