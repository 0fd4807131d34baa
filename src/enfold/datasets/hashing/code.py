"""Functions, classes and modules: what they do, not what they are called.

A function is its bytecode, its defaults, what it closes over, and the values of the globals it names, each walked in
turn, so a change in a helper it calls shows too. Installed packages and the standard library are trusted to be what
their version says: what comes from them is its name and that version.
"""

import dis
import functools
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from enfold.datasets.hashing.installed import find_spec, installed_version
from enfold.datasets.hashing.walk import Walk, describes, describes_of, installed, join, scalar

# Attributes of a class that say nothing about what it does, or say it a second time.
_BOOKKEEPING = frozenset(
    [
        "__dict__",
        "__weakref__",
        "__module__",
        "__doc__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__match_args__",
        "__parameters__",
        "__orig_bases__",
        "__abstractmethods__",
        "_abc_impl",
        "_member_map_",
        "_value2member_map_",
        "_member_names_",
        "_unhashable_values_",
        "__slotnames__",
    ]
)
_CHAINED = frozenset({"LOAD_ATTR", "LOAD_METHOD"})


@describes(types.FunctionType)
def _function(walk: Walk, value: types.FunctionType) -> bytes:
    if found := installed(value.__module__, value.__qualname__):
        return found
    cells = value.__closure__ or ()
    enclosed = [
        walk.of(cell, f"the enclosed variable {name!r}")
        for name, cell in zip(value.__code__.co_freevars, cells, strict=True)
    ]
    return join(
        "function",
        walk.of(value.__code__),
        walk.of(value.__defaults__, "its defaults"),
        walk.of(value.__kwdefaults__, "its defaults"),
        join("closure", *enclosed),
        join("globals", *_globals(walk, value.__code__, value.__globals__)),
        walk.of({k: v for k, v in value.__dict__.items() if k != "__wrapped__"}, "its attributes"),
    )


def _globals(walk: Walk, code: types.CodeType, space: dict[str, Any]) -> Iterator[bytes]:
    """The digests of what the code reads of its module, in the order of the code."""
    for names in _references(code):
        if names[0] not in space:
            continue  # a builtin, or a name that isn't there yet
        value, used = space[names[0]], 1
        while isinstance(value, types.ModuleType) and used < len(names) and hasattr(value, names[used]):
            if installed_version(value.__name__.partition(".")[0]) is not None:
                break
            value, used = getattr(value, names[used]), used + 1
        name = ".".join(names[:used])
        yield join("name", scalar(name), walk.of(value, f"the global {name!r}"))
    for module in _imports(code, space):
        yield join("import", _module(walk, module))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals(walk, constant, space)


def _references(code: types.CodeType) -> list[tuple[str, ...]]:
    """The global names that the code reads, each with the attributes that are read of it at once: `("np", "pad")`."""
    found: dict[tuple[str, ...], None] = {}
    chain: list[str] = []
    for step in dis.get_instructions(code):
        if step.opname == "EXTENDED_ARG":
            continue
        if step.opname in _CHAINED and chain:
            chain.append(step.argval)
            continue
        if chain:
            found[tuple(chain)] = None
        chain = [step.argval] if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") else []
    if chain:
        found[tuple(chain)] = None
    return list(found)


def _imports(code: types.CodeType, space: dict[str, Any]) -> Iterator[str]:
    """The modules that the code imports when it runs."""
    before: list[Any] = []
    for step in dis.get_instructions(code):
        if step.opname == "IMPORT_NAME":
            level = before[-2] if len(before) > 1 and isinstance(before[-2], int) else 0
            package = space.get("__package__") or ""
            yield importlib.util.resolve_name("." * level + step.argval, package) if level and package else step.argval
        if step.opname == "LOAD_CONST":
            before.append(step.argval)


@describes(types.ModuleType)
def _module_value(walk: Walk, value: types.ModuleType) -> bytes:
    return _module(walk, value.__name__)


def _module(walk: Walk, name: str) -> bytes:
    if found := installed(name, ""):
        return found
    module = sys.modules.get(name)
    source = getattr(module, "__file__", None)
    if module is None and (spec := find_spec(name)) is not None:
        source = spec.origin
    text = Path(source).read_bytes() if source and Path(source).is_file() else b""
    others = sorted(
        {
            other.__name__
            for other in vars(module or types.ModuleType("")).values()
            if isinstance(other, types.ModuleType) and other is not module
        }
    )
    below = [walk.of(sys.modules[o], f"the module {o!r}") for o in others if o in sys.modules]
    return join("module", scalar(name), text, *below)


@describes(types.CodeType)
def _code(walk: Walk, value: types.CodeType) -> bytes:
    return join(
        "code",
        value.co_code,
        value.co_exceptiontable,
        scalar((value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)),
        walk.of((value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)),
        walk.of(value.co_consts, "its constants"),
    )


@describes(types.CellType)
def _cell(walk: Walk, value: types.CellType) -> bytes:
    try:
        content = value.cell_contents
    except ValueError:
        return join("empty cell")
    return join("cell", walk.of(content, "its value"))


@describes(types.MethodType)
def _method(walk: Walk, value: types.MethodType) -> bytes:
    return join("method", walk.of(value.__func__), walk.of(value.__self__, "its object"))


@describes(types.BuiltinFunctionType, types.MethodWrapperType)
def _builtin(walk: Walk, value: Any) -> bytes:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return installed(value.__module__, value.__qualname__) or join("builtin", scalar(value.__qualname__))
    return join("bound builtin", walk.of(owner, "its object"), scalar(value.__name__))


@describes(
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
def _descriptor(walk: Walk, value: Any) -> bytes:
    return join("descriptor", walk.of(value.__objclass__), scalar(value.__name__))


@describes(staticmethod, classmethod)
def _wrapped(walk: Walk, value: Any) -> bytes:
    return join(type(value).__name__, walk.of(value.__func__))


@describes(property)
def _property(walk: Walk, value: property) -> bytes:
    return join("property", walk.of(value.fget), walk.of(value.fset), walk.of(value.fdel))


@describes(functools._lru_cache_wrapper)
def _memoised(walk: Walk, value: Any) -> bytes:
    return join("memoised", walk.of(value.__wrapped__))


@describes_of("torch.nn", "Module")
def _network(walk: Walk, value: Any) -> bytes:
    return join("module", walk.of(type(value)), walk.attributes(value.__getstate__()))


@describes(type)
def _class(walk: Walk, value: type) -> bytes:
    if found := installed(value.__module__, value.__qualname__):
        return found
    members = [
        join("member", scalar(name), walk.of(member, f".{name}"))
        for name, member in sorted(vars(value).items())
        if name not in _BOOKKEEPING
    ]
    return join(
        "class", scalar(value.__qualname__), walk.of(type(value)), join("", *walk.each(value.__bases__)), *members
    )
