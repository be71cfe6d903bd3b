"""/openapi.json for programs and /docs for people: the same document, rendered once, with nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from receiver.openapi import document

CSS = (Path(__file__).parent / "docs.css").read_text(encoding="utf-8")
# Nothing on the page runs, and nothing is loaded: a browser may refuse the rest.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
BOUNDS = {"minimum": "from", "maximum": "to", "maxLength": "up to", "maxItems": "up to", "default": "default"}
WHO = {0: "anybody", 2: "needs a token", 3: "needs a token or a signature"}  # by the number of ways


async def for_programs(_: Request) -> Response:
    """GET /openapi.json."""
    return Response(json.dumps(document(), ensure_ascii=False), media_type="application/json")


async def for_people(_: Request) -> Response:
    """GET /docs."""
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(_page(), media_type="text/html", headers=headers)


@cache
def _page() -> str:
    described = document()
    operations = [
        (method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    info = described["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} API</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>'
        f"<body>{_navigation(info, operations)}<main><h1>{escape(info['title'])} API</h1>"
        f"<p>{escape(info['description'])}</p>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{''.join(_operation(described, *operation) for operation in operations)}</main></body></html>"
    )


def _navigation(info: dict[str, Any], operations: list[tuple[str, str, dict[str, Any]]]) -> str:
    groups: dict[str, list[str]] = {}
    for method, path, operation in operations:
        link = f'<a href="#{_anchor(method, path)}">{_method(method)}<span>{escape(operation["summary"])}</span></a>'
        groups.setdefault(operation["tags"][0], []).append(link)
    lists = "".join(f"<h2>{escape(group)}</h2>{''.join(links)}" for group, links in groups.items())
    return f"<nav><strong>{escape(info['title'])}</strong><small>{escape(info['version'])}</small>{lists}</nav>"


def _operation(described: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    address = f'{_method(method)}<code class="path">{escape(path)}</code>'
    who = f'<span class="who">{WHO[len(operation["security"])]}</span>'
    parts = [
        f"<header><h2>{escape(operation['summary'])}</h2>{address}{who}</header>",
        f"<p>{escape(operation.get('description', ''))}</p>",
    ]
    if parameters := operation.get("parameters"):
        parts.append(_table("Parameters", map(_parameter_row, parameters)))
    if schema := _schema(described, operation.get("requestBody", {})):
        parts.append(_table("Body", _field_rows(described, schema)))
    parts.append(f"<h3>Example</h3><pre>{escape(_curl(described, method, path, operation))}</pre>")
    success = next(iter(operation["responses"].values()))
    if schema := _schema(described, success):
        parts.append(f"<details><summary>Answer</summary>{_table('', _field_rows(described, schema))}</details>")
    parts.append(_table("Statuses", (_status_row(*pair) for pair in operation["responses"].items())))
    return f'<article id="{_anchor(method, path)}">{"".join(parts)}</article>'


def _schema(described: dict[str, Any], message: dict[str, Any]) -> dict[str, Any] | None:
    """The model that a request or response carries as JSON, if it is one of ours."""
    reference = message.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref")
    return _resolve(described, reference) if reference else None


def _resolve(described: dict[str, Any], reference: str) -> dict[str, Any]:
    schema: dict[str, Any] = described["components"]["schemas"][reference.rpartition("/")[2]]
    return schema


def _field_rows(described: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """One row per field; those of models inside follow, under their path."""
    for name, field in schema.get("properties", {}).items():
        ways = field.get("anyOf", [field])
        listed = next((way for way in ways if way.get("type") == "array"), None)
        reference = (listed["items"] if listed else ways[0]).get("$ref")
        path = f"{prefix}{name}{'[]' if listed else ''}"
        yield _row(path, " or ".join(_kind(way) for way in ways), field.get("description", ""))
        if reference:
            yield from _field_rows(described, _resolve(described, reference), f"{path}.")


def _kind(schema: dict[str, Any]) -> str:
    """The schema in a few words."""
    if "$ref" in schema:
        return "object"
    if "enum" in schema:
        return ", ".join(schema["enum"])
    kind = str(schema.get("const") or schema.get("format") or schema.get("type", "anything"))
    bounds = [f"{word} {schema[key]}" for key, word in BOUNDS.items() if schema.get(key) is not None]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


def _parameter_row(parameter: dict[str, Any]) -> str:
    return _row(parameter["name"], f"{parameter['in']}, {_kind(parameter['schema'])}", parameter["description"])


def _row(name: str, kind: str, text: str) -> str:
    return f"<tr><td>{escape(name)}<small>{escape(kind)}</small></td><td>{escape(text)}</td></tr>"


def _status_row(status: str, response: dict[str, Any]) -> str:
    mood = "good" if status.startswith("2") else "bad"
    return f'<tr><td class="status {mood}">{status}</td><td>{escape(response["description"])}</td></tr>'


def _table(title: str, rows: Iterable[str]) -> str:
    return f"{f'<h3>{escape(title)}</h3>' if title else ''}<table>{''.join(rows)}</table>"


def _curl(described: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    """A command that works once the token is one's own."""
    for parameter in operation.get("parameters", []):
        path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", "")))
    lines = [f"curl{' -X POST' if method == 'post' else ''} http://localhost:8000{path}"]
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if schema := _schema(described, operation.get("requestBody", {})):
        lines += ['-H "Content-Type: application/json"', f"-d '{json.dumps(schema['example'])}'"]
    return " \\\n     ".join(lines)


def _method(method: str) -> str:
    return f'<span class="method {method}">{method}</span>'


def _anchor(method: str, path: str) -> str:
    return f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}"
