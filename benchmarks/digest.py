"""How PostgreSQL carried out a statement, in a line."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text


def digest(connection: Connection, statement: str, asked: dict[str, Any]) -> tuple[str, int]:
    """Return which tables a statement reads and how, with the rows; and how many pages it touched."""
    explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
    (plan,) = connection.execute(explain, asked).scalar_one()
    scans: dict[str, int] = {}
    for node in _nodes(plan["Plan"]):
        if relation := node.get("Relation Name"):
            how = f"{node['Node Type'].lower()} on {node.get('Index Name', relation)}"
            scans[how] = scans.get(how, 0) + round(node["Actual Rows"] * node["Actual Loops"])
        elif "Index Name" in node:
            how = f"{node['Node Type'].lower()} on {node['Index Name']}"
            scans[how] = scans.get(how, 0) + round(node["Actual Rows"] * node["Actual Loops"])
    pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    read = ", ".join(f"{how} ({rows} rows)" for how, rows in scans.items())
    return f"{plan['Execution Time']:.1f} ms, {pages} pages; {read}", pages


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
