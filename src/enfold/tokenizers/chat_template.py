"""Chat templates: Jinja programs that come with a model, run in a sandbox with bounds.

A template is code by a stranger. Jinja's immutable sandbox keeps it away from Python's inside; here its loops, the
size of what it builds and its time are bounded as well, as far as that can be done inside one process.
"""

import json
import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes as nodes
import jinja2.sandbox
import jinja2.utils
from jinja2.visitor import NodeTransformer

from enfold.base.errors import TemplateError

MAX_TEXT = 64_000_000  # characters or items of any one value, and of the whole output
MAX_STEPS = 20_000_000  # passes through loops and macros in one rendering
MAX_SECONDS = 60.0
MAX_TEMPLATE = 4_000_000  # characters of a template
_NAME = "<chat template>"
_CLOCK_EVERY = 4096
_PADDERS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})
# Format strings that ask for a number of more than a million characters, or let a value say how many.
_WIDE = re.compile(r"%[-+ #0-9.]*\d{7,}|\{[^{}]*:[^{}]*\d{7,}")
_WIDTH_FROM_VALUE = re.compile(r"%[-+ #0-9]*\.?\*|\{[^{}]*:[^{}]*\{")


class _ExceededError(Exception):
    """A bound was crossed; not a RuntimeError so that no template construct swallows it."""


class _Rendering:
    """One rendering: what it may still spend, how much it wrote, and which spans the assistant wrote."""

    def __init__(self) -> None:
        self.steps = 0
        self.written = 0
        self.spans: list[tuple[int, int]] = []
        self.until = time.monotonic() + MAX_SECONDS

    def step(self) -> None:
        self.steps += 1
        if self.steps % _CLOCK_EVERY == 0:
            if self.steps > MAX_STEPS:
                raise _ExceededError(f"it loops more than {MAX_STEPS:,} times")
            if time.monotonic() > self.until:
                raise _ExceededError(f"it runs longer than {MAX_SECONDS:g} s")


# Compiled templates are shared between threads; what one rendering does is not.
_RENDERING: ContextVar[_Rendering] = ContextVar("rendering")


def _step() -> None:
    _RENDERING.get().step()


def _bounded(size: int) -> None:
    if size > MAX_TEXT:
        raise _ExceededError(f"it builds a value of more than {MAX_TEXT:,} characters or items")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, bytes, list, tuple, dict)) else 0


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %} … {% endgeneration %}` marks what the assistant wrote."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        text = caller()
        rendering = _RENDERING.get()
        rendering.spans.append((rendering.written, rendering.written + len(text)))
        return text


class _StepCounter(NodeTransformer):
    """Makes each pass through a loop or macro call `_step()`, and each `~` call `_concat(…)`."""

    def _count(self, node: Any) -> Any:
        node = self.generic_visit(node)
        call = nodes.Call(nodes.Name("_step", "load"), [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(call).set_lineno(node.lineno))
        return node

    visit_For = visit_Macro = visit_CallBlock = _count  # noqa: N815 (Jinja's naming)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        node = self.generic_visit(node)  # type: ignore[assignment]
        return nodes.Call(nodes.Name("_concat", "load"), node.nodes, [], None, None).set_lineno(node.lineno)


class _Namespace(jinja2.utils.Namespace):
    """`namespace()` without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any):
        self, *rest = args
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check(name: object) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace can't hold {name!r}: names must not begin with '_'")


class _Dict:
    """`dict(…)` without access to the class."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict:
        return dict.fromkeys(*args, **kwargs)


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's immutable sandbox with bounds."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, jinja2.ext.loopcontrols],
            finalize=_printable,
        )
        self.filters["tojson"] = _tojson
        self.globals.update(
            raise_exception=_raise_exception,
            strftime_now=_strftime_now,
            dict=_Dict(),
            namespace=_Namespace,
            _step=_step,
            _concat=_concat,
        )
        for name in ("center", "indent", "replace", "format", "join", "wordwrap", "string"):
            self.filters[name] = self._guarded_filter(name, self.filters[name])
        lorem = self.globals["lipsum"]
        self.globals["lipsum"] = lambda n=5, html=True, min=20, max=100: lorem(  # type: ignore[operator]
            _small(n, 100), html, _small(min, 1000), _small(max, 1000)
        )

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            if isinstance(left, int) and isinstance(right, int):
                _bounded((left.bit_length() + right.bit_length()) // 4)
            else:
                sized, times = (left, right) if isinstance(right, int) else (right, left)
                _bounded(_size(sized) * (times if isinstance(times, int) else 1))
        elif operator == "**":
            if isinstance(left, int) and isinstance(right, int) and right > 0 and left.bit_length() * right > 100_000:
                raise _ExceededError(f"it computes {left!r:.20} to the power of {right!r:.20}")
        elif operator == "%" and isinstance(left, str):
            _no_wide_format(left, right)
        elif operator == "+":
            _bounded(_size(left) + _size(right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (as in Jinja)
        # Jinja hands out str.format inside a wrapper of its own.
        bound = getattr(__obj, "__wrapped__", __obj)
        owner = getattr(bound, "__self__", None)
        if isinstance(owner, str):
            _guard_method(owner, getattr(bound, "__name__", ""), args, kwargs)
        return super().call(__context, __obj, *args, **kwargs)

    @staticmethod
    def _guarded_filter(name: str, original: Any) -> Any:
        from functools import wraps

        @wraps(original)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            # Jinja passes some filters its environment or context first; numbers are bounded wherever they stand.
            for value in (*args, *kwargs.values()):
                if isinstance(value, int):
                    _bounded(value)
            texts = [value for value in (*args, *kwargs.values()) if isinstance(value, str)]
            if name == "replace" and len(texts) >= 3:
                _guard_method(texts[0], "replace", texts[1:3], {})
            elif name == "format" and texts:
                _no_wide_format(texts[0], args[1:])
            elif name == "indent" and texts:
                width = max((value for value in (*args, *kwargs.values()) if isinstance(value, int)), default=4)
                _bounded((texts[0].count("\n") + 1) * max(width, max(map(len, texts[1:]), default=0)))
            elif name == "join":
                context, value, *rest = args
                items = _collected(value)
                separator = max(map(len, texts), default=0)
                _bounded(sum(_printed(item) for item in items) + separator * len(items))
                args = (context, items, *rest)
            elif name == "string":
                _printable(args[0])
            return original(*args, **kwargs)

        return guarded


def _guard_method(owner: Any, name: str, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse a method call on text or a list that would build something huge."""
    if name in _PADDERS:
        for value in (*args, *kwargs.values()):
            if isinstance(value, int):
                _bounded(value * (owner.count("\t") + 1) if name == "expandtabs" else value)
    elif name == "replace" and len(args) >= 2 and all(isinstance(value, str) for value in args[:2]):
        old, new = args[:2]
        _bounded(len(owner) + (owner.count(old) if old else len(owner) + 1) * len(new))
    elif name in {"format", "format_map"}:
        _no_wide_format(owner, [*args, *kwargs.values(), *(v for a in args if isinstance(a, dict) for v in a.values())])
    elif name == "join" and args and isinstance(args[0], (list, tuple)):
        _bounded(sum(map(_size, args[0])) + len(owner) * len(args[0]))


def _no_wide_format(text: str, values: Any) -> None:
    """`'%9999999d'`, `'{:9999999}'` and `'%*d' % (9999999, 1)` ask for more than any chat needs."""
    flat = values if isinstance(values, (list, tuple)) else [values]
    for value in flat:
        _printable(value)
    large = any(isinstance(value, int) and value > 1_000_000 for value in flat)
    if _WIDE.search(text) or (large and _WIDTH_FROM_VALUE.search(text)):
        raise _ExceededError("it formats a value to more than a million characters")


def _small(value: Any, most: int) -> int:
    return min(int(value), most)


def _collected(values: Any) -> list[Any]:
    """The items of an iterable, of which there may not be too many."""
    items: list[Any] = []
    for item in values:
        items.append(item)
        if len(items) % _CLOCK_EVERY == 0:
            _bounded(len(items))
            _step()
    return items


def _printed(value: Any) -> int:
    """Roughly how many characters `value` has when it is printed; stops as soon as there are too many."""
    total, waiting = 0, [value]
    while waiting:
        item = waiting.pop()
        total += len(item) if isinstance(item, str) else 2
        if isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple)):
            waiting.extend(item)
        _bounded(total + len(waiting))
    return total


def _printable(value: Any) -> Any:
    """`value`, if it is not too much to print."""
    if isinstance(value, (list, tuple, dict)):
        _printed(value)
    return value


def _concat(*values: Any) -> str:
    parts = [str(_printable(value)) for value in values]
    _bounded(sum(map(len, parts)))
    return "".join(parts)


def _tojson(
    x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    if (isinstance(indent, int) and indent > 64) or (isinstance(indent, str) and len(indent) > 64):
        raise _ExceededError("it indents JSON by more than 64 characters")
    _printable(x)
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: Any) -> None:
    raise jinja2.exceptions.TemplateError(str(message))


def _strftime_now(format: str) -> str:
    if len(format) > 1000 or re.search(r"\d{5,}", format):
        raise _ExceededError("it formats a date to excess")
    return datetime.now().strftime(format)


@lru_cache(maxsize=64)
def compile_template(source: str) -> jinja2.Template:
    """Compile a chat template.

    Raises:
        TemplateError: bad syntax, with its line.
    """
    if len(source) > MAX_TEMPLATE:
        raise TemplateError(f"The chat template has {len(source):,} characters; at most {MAX_TEMPLATE:,} are accepted.")
    environment = _Environment()
    try:
        tree = _StepCounter().visit(environment.parse(source, filename=_NAME))
        code = environment.compile(tree, None, _NAME)
    except jinja2.exceptions.TemplateSyntaxError as error:
        raise TemplateError(f"The chat template can't be read, line {error.lineno}: {error.message}") from error
    except (RecursionError, MemoryError, SyntaxError, ValueError) as error:
        raise TemplateError(f"The chat template can't be compiled: {error or type(error).__name__}") from error
    return jinja2.Template.from_code(environment, code, environment.make_globals(None))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def literals(source: str) -> str:
    """What a chat template writes of its own, its text and strings, each behind a NUL that no token holds."""
    tree = _Environment().parse(source, filename=_NAME)
    texts = [node.data for node in tree.find_all(nodes.TemplateData)]
    texts += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    return "\0".join(dict.fromkeys(texts))


def render(source: str, variables: Mapping[str, Any]) -> tuple[str, list[tuple[int, int]]]:
    """Run a chat template.

    Args:
        source: the template.
        variables: what it may use: `messages`, `tools`, `add_generation_prompt`, the special tokens, …

    Returns:
        the text, and the character spans that `{% generation %}` blocks wrote.

    Raises:
        TemplateError: the template failed, refused the messages, or crossed a bound; with its line and reason.
    """
    template = compile_template(source)
    rendering = _Rendering()
    blocks: list[str] = []
    token = _RENDERING.set(rendering)
    try:
        for block in template.generate(**variables):
            blocks.append(block)
            rendering.written += len(block)
            _bounded(rendering.written)
            rendering.step()
    except (_ExceededError, OverflowError) as error:
        raise TemplateError(f"The chat template was stopped{_line(error)}: {error}.") from error
    except jinja2.exceptions.SecurityError as error:
        raise TemplateError(f"The chat template tried something forbidden{_line(error)}: {error}") from error
    except jinja2.exceptions.UndefinedError as error:
        raise TemplateError(f"The chat template misses something{_line(error)}: {error}") from error
    except jinja2.exceptions.TemplateError as error:
        raise TemplateError(f"The chat template refused these messages{_line(error)}: {error}") from error
    except RecursionError as error:
        raise TemplateError("The chat template recurses without end.") from error
    except Exception as error:
        raise TemplateError(
            f"The chat template failed on these messages{_line(error)}: {type(error).__name__}: {error}"
        ) from error
    finally:
        _RENDERING.reset(token)
    return "".join(blocks), rendering.spans


def _line(error: BaseException) -> str:
    """` in line N`, from the innermost frame that belongs to the template."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" in line {line}"
