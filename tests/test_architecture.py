"""The structure of the program: which module may import which, where SQL may be, how long things may be."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("enrichment", "store", "receiver", "submitter", "sandbox", "console", "rig")
MEASURES = ("chaos", "bench")

# The receiver never calls out, the submitter never listens; and what both agree on knows neither.
FORBIDDEN = {
    "enrichment": {
        "store",
        "receiver",
        "submitter",
        "sandbox",
        "console",
        "rig",
        "asyncpg",
        "starlette",
        "uvicorn",
        "aiohttp",
    },
    "store": {"receiver", "submitter", "sandbox", "console", "rig", "starlette", "uvicorn", "aiohttp"},
    "receiver": {"submitter", "sandbox", "console", "rig", "aiohttp"},
    "submitter": {"receiver", "sandbox", "console", "rig", "starlette", "uvicorn"},
    "sandbox": {"enrichment", "store", "receiver", "submitter", "console", "rig", "asyncpg"},
    "console": {"receiver", "sandbox", "starlette", "uvicorn"},
    "rig": {"enrichment", "store", "receiver", "submitter", "sandbox", "console", "chaos", "bench", "tests"},
}
# The console asks providers and CRMs in the one way in which they are asked anything.
OF_THE_SUBMITTER_FOR_THE_CONSOLE = {"submitter.transport", "submitter.crm_calls"}

SQL = re.compile(
    r"\b(SELECT\s+[\w*(]|INSERT\s+INTO|UPDATE\s+\w+(\s+AS\s+\w+)?\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX|TYPE)"
    r"|ALTER\s+TABLE|DROP\s+TABLE|LISTEN\s+\w+|NOTIFY\s+\w+|SET\s+LOCAL)"
)
HOLDS_SQL = ("store/",)

LONGEST_FILE = 400  # lines
LONGEST_FUNCTION = 60  # lines, without its docstring and its SQL
LISTS = {"receiver/app.py:create_app": 80}  # what is put together, and every address, belong on one page


def files(*folders: str) -> list[str]:
    """The Python files below *folders*, as paths from the root."""
    return sorted(str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).rglob("*.py"))


@functools.cache
def tree(path: str) -> ast.Module:
    """The file, parsed."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported(path: str) -> set[str]:
    """The modules that the file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@functools.cache
def functions(path: str) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    """Every function and method of the file."""
    return tuple(n for n in ast.walk(tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def straight_on(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below *node* but those in a function within it (a fake) or in a `while` (it looks again)."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.While):
            yield from straight_on(child)


def texts(path: str) -> Iterator[ast.Constant]:
    """Every string of the file that is no docstring."""
    module = tree(path)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_are_arrows(room: str) -> None:
    """No room imports what it must not know."""
    allowed = OF_THE_SUBMITTER_FOR_THE_CONSOLE if room == "console" else set()
    wrong = [
        f"{path} imports {name}"
        for path in files(room)
        for name in imported(path)
        if name.partition(".")[0] in FORBIDDEN[room] and not any(name.startswith(one) for one in allowed)
    ]

    assert wrong == []


def test_the_console_knows_no_more_of_the_submitter_than_how_it_asks() -> None:
    """Everything else of the submitter's is started as a process."""
    known = {name for path in files("console") for name in imported(path) if name.startswith("submitter")}

    assert {".".join(name.split(".")[:2]) for name in known} == OF_THE_SUBMITTER_FOR_THE_CONSOLE


def test_sql_stands_where_one_looks_for_it() -> None:
    """Statements are in the store, in schema.sql, and in the few files that are about the database itself."""
    elsewhere = [
        f"{path}:{text.lineno}: {match[0]}"
        for path in files(*ROOMS)
        if not path.startswith(HOLDS_SQL)
        for text in texts(path)
        if (match := SQL.search(str(text.value)))
    ]

    assert elsewhere == []


def test_no_statement_is_put_together() -> None:
    """SQL is constant text: what varies is a parameter. A channel's name and those of columns are constants of ours."""
    together = [
        f"{path}:{node.lineno}"
        for path in files(*ROOMS)
        if path not in {"store/notify.py", "store/columns.py"}
        for node in ast.walk(tree(path))
        if isinstance(node, ast.JoinedStr) and SQL.search(ast.unparse(node))
    ]

    assert together == []


def test_a_file_is_read_in_one_sitting() -> None:
    """No module is longer than 400 lines, and each says in its docstring what it is."""
    lines = {path: (ROOT / path).read_text(encoding="utf-8").count("\n") for path in files(*ROOMS, *MEASURES)}

    assert {path: count for path, count in lines.items() if count > LONGEST_FILE} == {}
    assert [path for path, count in lines.items() if count and not ast.get_docstring(tree(path))] == []


def test_a_function_fits_on_a_screen() -> None:
    """Sixty lines of code at most; a statement in SQL may take the room that it needs."""
    too_long = []
    for path in files(*ROOMS, *MEASURES):
        for function in functions(path):
            lines = (function.end_lineno or 0) - function.lineno + 1
            for node in ast.walk(function):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value:
                    lines -= node.value.count("\n")
            if lines > LISTS.get(f"{path}:{function.name}", LONGEST_FUNCTION):
                too_long.append(f"{path}:{function.name}: {lines}")

    assert too_long == []


def test_tests_say_what_they_hold() -> None:
    """Every test has a sentence that states a rule, not what the test calls."""
    silent = [
        f"{path}:{function.name}"
        for path in files("tests")
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]

    assert silent == []


def test_tests_do_not_sleep() -> None:
    """A test waits for something to come true: a pause is too short on one machine, and too long on all others.

    sleep(0) is none: it gives the others their turn.
    """
    pauses = [
        f"{path}:{function.name}: {ast.unparse(node)}"
        for path in files("tests")
        for function in functions(path)
        if function.name.startswith("test_")
        for node in straight_on(function)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", None)) == "sleep"
        and ast.unparse(node) != "asyncio.sleep(0)"
    ]

    assert pauses == []


def test_nothing_is_called_utils() -> None:
    """Every module is named after what it knows."""
    vague = {"utils", "util", "common", "helpers", "shared", "core", "misc"}

    assert [path for path in files(*ROOMS, *MEASURES) if set(Path(path).with_suffix("").parts) & vague] == []
