"""The rules of style that a machine can check, as functions from one source file to its findings.

Each rule takes a `Source` and yields a `Finding` for each breach: where it is, and what to do about it.
Rules read the syntax tree and never run the code. A rule has one home: what ruff, mypy or import-linter
already prove (a sorted `__all__`, complete types, layers, a pure core) is not repeated here. Exceptions are
named below with their reasons, and `test_tidy` refuses one that is no longer needed.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from tests.tidy_syntax import (
    Finding,
    Function,
    Source,
    calls,
    depth,
    dotted,
    functions,
    listed_names,
    outer_functions,
    public_things,
)

__all__ = [
    "BROAD_CATCHES",
    "ENVIRONMENT_READERS",
    "FILE_OPENERS",
    "HOUSE_RULES",
    "TEST_RULES",
    "TEXT_RULES",
    "Rule",
    "broad_catches",
]

MODULE_LINE_COUNT_MAX = 400
FUNCTION_LINE_COUNT_MAX = 50
NESTING_MAX = 3
TEST_NAME_WORD_COUNT_MIN = 3

FILE_OPENERS = {
    "streamd/storage": "the store: the only room of the server that opens files",
    "streamd/cli": "reads the files and the stdin that the user names on the command line",
    "streamd/functions/sandbox": "reads /proc, and makes, mounts and shows the folders that a process needs",
    "streamd/sdk/aws_files.py": "reads the two files in which users of AWS keep their settings",
    "streamd/demo": "reads the user's posts and keeps its consumer's checkpoints, as a user's program would",
}
ENVIRONMENT_READERS = {
    "streamd/cli": "the command line reads the settings once and hands them on",
    "streamd/demo/function": "is the code of a function, which is configured by its environment",
    "streamd/functions/environments/python_client.py": "a function's process is told its address there",
    "streamd/sdk/credentials.py": "AWS's own variables are where users of AWS keep their keys",
    "streamd/sdk/settings.py": "AWS's own variables are where users of AWS keep their region and endpoints",
}
BROAD_CATCHES = {
    "streamd/demo/reading.py": "what stops the reading thread is raised again by the task that waits for its pieces",
    "streamd/functions/dialect.py": "a bug in one operation is logged, and answered as a service exception",
    "streamd/kinesis/operation.py": "a bug in one operation is logged, and answered as an internal failure",
    "streamd/server/http2_hall.py": "a page that cannot be written is logged and answered 500, as aiohttp does it",
    "streamd/server/lean_hall.py": "a bug behind the door is logged and answered 500, and ends no other request",
    "streamd/server/lean.py": "a bug in a pushed answer is logged, and ends its connection alone",
    "streamd/server/http2_streams.py": "a bug in a pushed answer is logged, and ends that stream alone",
    "streamd/supervisor.py": "the last frame of a worker: nobody else can tell what ended it",
}

_BANNED_WORDS = frozenset({"util", "utils", "helper", "helpers", "manager", "managers"})
_BANNED_FUNCTIONS = re.compile(r"_*(process(_.*)?|handle_data)$")
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_FILE_FUNCTIONS = frozenset({"io.open", "os.open", "os.fdopen", "mmap.mmap", "sqlite3.connect"})
_FILE_METHODS = frozenset(
    {"iterdir", "mkdir", "read_bytes", "read_text", "rmdir", "touch", "unlink", "write_bytes", "write_text"}
)
_PATH_NAMES = ("path", "Path", "directory", "file", "folder")
_FILE_MODULES = frozenset({"shutil", "tempfile"})
_TASK_FUNCTIONS = frozenset({"create_task", "ensure_future"})
_CLOCK_METHODS = frozenset({"now", "today", "utcnow"})
_BROAD_ERRORS = frozenset({"Exception", "BaseException"})
_TYPE_IGNORE = re.compile(r"#\s*type:\s*ignore")
_TYPE_IGNORE_WITH_REASON = re.compile(r"#\s*type:\s*ignore\[[a-z][a-z, -]*\]\s+#\s*\w+")
_MACHINE_PATH = re.compile(r"(?<![\w.})-])/(?:work|tmp)/")


Rule = Callable[[Source], Iterator[Finding]]


def module_has_docstring(source: Source) -> Iterator[Finding]:
    """Find a module that does not say what it is, promises and refuses."""
    if ast.get_docstring(source.tree()) is None:
        yield Finding(source.path, 1, "begin with a docstring: what the module is, promises, and refuses")


def module_lists_its_names(source: Source) -> Iterator[Finding]:
    """Find a module with names but without `__all__`, and public names that `__all__` does not list.

    What a decorator adds to a group of commands is public by that, and nobody imports it.
    """
    tree = source.tree()
    named = [node for node in tree.body if isinstance(node, ast.ClassDef | Function)]
    listed = listed_names(tree)
    if listed is None:
        if named and not source.path.endswith("__main__.py"):
            yield Finding(source.path, 1, "say after the imports what is public: __all__ = [...]")
        return
    for node in named:
        decorators = [dotted(call.func) for call in node.decorator_list if isinstance(call, ast.Call)]
        is_command = any(name.endswith((".command", ".group")) for name in decorators)
        if not (is_command or node.name.startswith("_") or node.name in listed):
            yield source.finding(node, f"list {node.name} in __all__, or begin its name with an underscore")


def module_is_short(source: Source) -> Iterator[Finding]:
    """Find a module that holds more than one noun can need."""
    count = source.text.count("\n")
    if count > MODULE_LINE_COUNT_MAX:
        yield Finding(source.path, count, f"split by noun: {count} lines, at most {MODULE_LINE_COUNT_MAX}")


def functions_are_short(source: Source) -> Iterator[Finding]:
    """Find functions whose body, without its docstring, is too long to be read at once."""
    for node in functions(source):
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        count = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        if count > FUNCTION_LINE_COUNT_MAX:
            fix = f"move a step of {node.name} out: {count} lines, at most {FUNCTION_LINE_COUNT_MAX}"
            yield source.finding(node, fix)


def functions_are_flat(source: Source) -> Iterator[Finding]:
    """Find functions with more than three levels of indent; a `match` and its cases count as one level."""
    for node in outer_functions(source.tree().body):
        level = depth(node.body)
        if level > NESTING_MAX:
            fix = f"return early or move a step of {node.name} out: {level} levels, at most {NESTING_MAX}"
            yield source.finding(node, fix)


def public_things_have_docstrings(source: Source) -> Iterator[Finding]:
    """Find public classes, functions and methods without a docstring."""
    for node in public_things(source.tree().body):
        if ast.get_docstring(node) is None:
            yield source.finding(node, f"give {node.name} a docstring; a function's begins with a verb")


def dataclasses_are_slotted(source: Source) -> Iterator[Finding]:
    """Find dataclasses that would take any attribute by mistake."""
    for node in ast.walk(source.tree()):
        decorators = node.decorator_list if isinstance(node, ast.ClassDef) else []
        for decorator in decorators:
            call = decorator if isinstance(decorator, ast.Call) else None
            name = dotted(call.func if call else decorator)
            keywords = {keyword.arg for keyword in call.keywords} if call else set()
            if name in {"dataclass", "dataclasses.dataclass"} and "slots" not in keywords:
                yield source.finding(decorator, "write @dataclass(frozen=True, slots=True)")


def imports_are_absolute(source: Source) -> Iterator[Finding]:
    """Find relative imports, which hide the layer they cross, and star imports, which hide the names."""
    for node in ast.walk(source.tree()):
        if isinstance(node, ast.ImportFrom) and node.level > 0:
            yield source.finding(node, "import from streamd.<room>, not relatively")
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield source.finding(node, "import each name, not *")


def names_say_something(source: Source) -> Iterator[Finding]:
    """Find names that would fit anything: utils, helpers, manager, process_…, handle_data."""
    stem = PurePosixPath(source.path).stem
    if _banned_word(stem):
        yield Finding(source.path, 1, f"name the module for its noun, not {stem}")
    for node in ast.walk(source.tree()):
        name = _defined_name(node)
        if _banned_word(name):
            yield source.finding(node, f"name {name} for what it is")
        if isinstance(node, Function) and _BANNED_FUNCTIONS.match(name):
            yield source.finding(node, f"name {name} for what it does to what")


def only_storage_opens_files(source: Source) -> Iterator[Finding]:
    """Find calls that touch the file system outside the rooms that may."""
    if source.is_in(list(FILE_OPENERS)):
        return
    for node in calls(source):
        if _touches_files(node.func):
            fix = f"{dotted(node.func)}: only streamd.storage opens files; ask it, or take the bytes"
            yield source.finding(node, fix)


def only_config_reads_the_environment(source: Source) -> Iterator[Finding]:
    """Find places that read the environment although they are handed their settings."""
    if source.is_in(list(ENVIRONMENT_READERS)):
        return
    fix = "take the setting as an argument: only streamd.cli reads the environment"
    for node in ast.walk(source.tree()):
        match node:
            case ast.Attribute() if dotted(node) in {"os.environ.get", "os.getenv"}:
                yield source.finding(node, fix)
            case ast.Subscript(value=value, ctx=ast.Load()) if dotted(value) == "os.environ":
                yield source.finding(node, fix)
            case _:
                pass


def core_has_no_clock(source: Source) -> Iterator[Finding]:
    """Find rules that look at the clock through a type that is otherwise pure."""
    if not source.is_in(["streamd/core"]):
        return
    for node in calls(source):
        if isinstance(node.func, ast.Attribute) and node.func.attr in _CLOCK_METHODS:
            yield source.finding(node, f"{dotted(node.func)}: take the time as an argument, now_ms")


def tasks_have_a_parent(source: Source) -> Iterator[Finding]:
    """Find tasks that nobody waits for."""
    for node in calls(source):
        owner, _, function = dotted(node.func).rpartition(".")
        if function not in _TASK_FUNCTIONS:
            continue
        if function == "ensure_future" or not owner.endswith("group"):
            yield source.finding(node, "start tasks by a TaskGroup that is named group or …_group")


def catches_are_narrow(source: Source) -> Iterator[Finding]:
    """Find handlers that would hide a bug; one that ends in a bare `raise` hides nothing."""
    if not source.is_in(list(BROAD_CATCHES)):
        yield from broad_catches(source)


def broad_catches(source: Source) -> Iterator[Finding]:
    """Find broad handlers wherever they are."""
    for node in ast.walk(source.tree()):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node):
            yield source.finding(node, "catch the errors that can be acted on here, by name")
    for call in calls(source):
        is_suppressor = dotted(call.func).rpartition(".")[2] == "suppress"
        if is_suppressor and any(_is_broad(argument) for argument in call.args):
            yield source.finding(call, "suppress the errors that do not matter here, by name")


def type_ignores_give_reasons(source: Source) -> Iterator[Finding]:
    """Find `type: ignore` without its code and its reason."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type != tokenize.COMMENT or not _TYPE_IGNORE.search(token.string):
            continue
        if not _TYPE_IGNORE_WITH_REASON.search(token.string):
            yield Finding(source.path, token.start[0], "write `type: ignore[code]  # the reason`")


def test_names_are_sentences(source: Source) -> Iterator[Finding]:
    """Find tests whose name does not say what should be true."""
    for node in functions(source):
        words = [word for word in node.name.split("_")[1:] if word]
        if node.name.startswith("test_") and len(words) < TEST_NAME_WORD_COUNT_MIN:
            yield source.finding(node, f"name {node.name} as a sentence about behaviour")


def tests_do_not_sleep(source: Source) -> Iterator[Finding]:
    """Find sleeps; `asyncio.sleep(0)` only lets other tasks run."""
    for node in calls(source):
        if dotted(node.func).rpartition(".")[2] != "sleep":
            continue
        if not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0):
            yield source.finding(node, "move the clock, or await the event that the test waits for")


def tests_use_the_real_thing(source: Source) -> Iterator[Finding]:
    """Find mocks and patches."""
    fix = "use the real thing on tmp_path, or a fake: if that cannot be done, a rule sits in the wrong room"
    for node in ast.walk(source.tree()):
        match node:
            case ast.Import(names=names) if any(alias.name.split(".")[-1] == "mock" for alias in names):
                yield source.finding(node, fix)
            case ast.ImportFrom(module="unittest.mock" | "mock" | "pytest_mock"):
                yield source.finding(node, fix)
            case ast.ImportFrom(module="unittest", names=names) if {"mock"} & {alias.name for alias in names}:
                yield source.finding(node, fix)
            case ast.arg(arg="monkeypatch" | "mocker"):
                yield source.finding(node, fix)
            case _:
                pass


def texts_name_no_machine(source: Source) -> Iterator[Finding]:
    """Find paths that exist on one machine only; any text, not only Python."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        if _MACHINE_PATH.search(line):
            yield Finding(source.path, number, "name no path of one machine: use a relative one, or tmp_path")


HOUSE_RULES: tuple[Rule, ...] = (
    module_has_docstring,
    module_lists_its_names,
    module_is_short,
    functions_are_short,
    functions_are_flat,
    public_things_have_docstrings,
    dataclasses_are_slotted,
    imports_are_absolute,
    names_say_something,
    only_storage_opens_files,
    only_config_reads_the_environment,
    core_has_no_clock,
    tasks_have_a_parent,
    catches_are_narrow,
    type_ignores_give_reasons,
)
TEST_RULES: tuple[Rule, ...] = (
    module_has_docstring,
    imports_are_absolute,
    type_ignores_give_reasons,
    test_names_are_sentences,
    tests_do_not_sleep,
    tests_use_the_real_thing,
)
TEXT_RULES: tuple[Rule, ...] = (texts_name_no_machine,)


def _touches_files(function: ast.expr) -> bool:
    name = dotted(function)
    owner, _, method = name.rpartition(".")
    if name == "open" or name in _FILE_FUNCTIONS or owner in _FILE_MODULES:
        return True
    return bool(owner) and (method in _FILE_METHODS or (method == "open" and owner.endswith(_PATH_NAMES)))


def _defined_name(node: ast.AST) -> str:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            return name
        case ast.Attribute(attr=name, ctx=ast.Store()):
            return name
        case _:
            return ""


def _banned_word(name: str) -> bool:
    return any(word.lower() in _BANNED_WORDS for word in _WORD.findall(name))


def _is_broad(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return any(_is_broad(element) for element in node.elts)
    return node is None or dotted(node).rpartition(".")[2] in _BROAD_ERRORS


def _raises_again(node: ast.ExceptHandler) -> bool:
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None
