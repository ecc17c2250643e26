"""What the rules of style look at: a source file, its syntax tree, and ways to walk it.

The walkers only describe what is written; what may be written is decided in `tidy_rules`.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = [
    "Finding",
    "Function",
    "Source",
    "calls",
    "depth",
    "dotted",
    "functions",
    "listed_names",
    "outer_functions",
    "public_things",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach: where, and the fix."""

    path: str
    line: int
    fix: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.fix}"


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the project; `path` is relative to the project's root, with forward slashes."""

    path: str
    text: str

    def tree(self) -> ast.Module:
        """Parse the text, as the oldest Python that streamd runs on would."""
        return ast.parse(self.text, self.path, feature_version=(3, 11))

    def is_in(self, places: Sequence[str]) -> bool:
        """Tell whether the file is one of the places, or lies below one."""
        path = PurePosixPath(self.path)
        return any(path.is_relative_to(place) for place in places)

    def finding(self, node: ast.AST, fix: str) -> Finding:
        """Make the finding for a node of this file's tree."""
        return Finding(self.path, getattr(node, "lineno", 1), fix)


def functions(source: Source) -> Iterator[Function]:
    """Walk all functions and methods, nested ones too."""
    return (node for node in ast.walk(source.tree()) if isinstance(node, Function))


def calls(source: Source) -> Iterator[ast.Call]:
    """Walk all calls."""
    return (node for node in ast.walk(source.tree()) if isinstance(node, ast.Call))


def outer_functions(body: Sequence[ast.stmt]) -> Iterator[Function]:
    """Walk functions and methods, but not the functions inside them."""
    for node in body:
        if isinstance(node, Function):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from outer_functions(node.body)


def public_things(body: Sequence[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    """Walk public classes, and public functions and methods that need words of their own."""
    for node in body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        decorators = {dotted(decorator).rpartition(".")[2] for decorator in node.decorator_list}
        if not decorators & {"overload", "override", "setter"}:
            yield node
        if isinstance(node, ast.ClassDef):
            yield from public_things(node.body)


def listed_names(tree: ast.Module) -> frozenset[str] | None:
    """Read `__all__`; None if the module has none."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List() | ast.Tuple() as names):
                return frozenset(ast.literal_eval(names))
            case _:
                pass
    return None


def dotted(node: ast.AST) -> str:
    """Write `a.b.c` for a chain of names; what is no name in it (a call, an index) becomes `?`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted(value)}.{name}"
        case _:
            return "?"


def depth(body: Sequence[ast.stmt]) -> int:
    """Count the levels of indent below a body; `elif` adds none, a `match` and its cases add one."""
    return max((_depth_of(node) for node in body), default=0)


def _depth_of(node: ast.stmt) -> int:
    match node:
        case ast.If(body=body, orelse=[ast.If() as following]) if following.col_offset == node.col_offset:
            return max(1 + depth(body), _depth_of(following))
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return 1 + depth(node.body)
        case ast.Match(cases=cases):
            return 1 + max(depth(case.body) for case in cases)
        case ast.Try() | ast.TryStar():
            handlers = [statement for handler in node.handlers for statement in handler.body]
            return 1 + depth([*node.body, *handlers, *node.orelse, *node.finalbody])
        case ast.For() | ast.AsyncFor() | ast.While() | ast.If():
            return 1 + depth([*node.body, *node.orelse])
        case ast.With() | ast.AsyncWith():
            return 1 + depth(node.body)
        case _:
            return 0
