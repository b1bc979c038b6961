# Apache-2.0 (see LICENSE)
"""What the role postgresql computes: the database roles of those who use a database that belongs to another."""

from __future__ import annotations

from typing import Any

ACCESS = {
    "read": {"rows": "SELECT", "sequences": "SELECT"},
    "write": {"rows": "SELECT,INSERT,UPDATE,DELETE", "sequences": "USAGE,SELECT"},
}


def grants(database: str, owner: str, access: str) -> list[dict[str, str]]:
    """What a role may do: connect, and use rows of the tables that the owner has made or will make."""
    rows, sequences = ACCESS[access]["rows"], ACCESS[access]["sequences"]
    return [
        {"type": "database", "objects": database, "privileges": "CONNECT"},
        {"type": "table", "objects": "ALL_IN_SCHEMA", "privileges": rows},
        {"type": "sequence", "objects": "ALL_IN_SCHEMA", "privileges": sequences},
        {"type": "default_privs", "objects": "TABLES", "privileges": rows, "makers": owner},
        {"type": "default_privs", "objects": "SEQUENCES", "privileges": sequences, "makers": owner},
    ]


def shared_databases(databases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both roles of each database that names users, also one that nobody is in: whoever was is taken out."""
    return [
        {
            "database": database["name"],
            "role": f"{database['name']}_{access}",
            "users": [u["name"] for u in database["users"] or [] if u.get("access", "write") == access],
            "grants": grants(database["name"], database["owner"], access),
        }
        for database in databases
        if database.get("users") is not None
        for access in ACCESS
    ]


def admissions(databases: list[dict[str, Any]], users: list[dict[str, Any]], clients: list[str]) -> list[list[str]]:
    """Who may come in, as database, user and network; a user's own addresses win over those of all."""
    of_user = {user["name"]: user.get("clients") for user in users}
    return [
        [database["name"], name, network(client)]
        for database in databases
        for name in [database["owner"], *(user["name"] for user in database.get("users") or [])]
        for client in (clients if of_user.get(name) is None else of_user[name])
    ]


def network(client: str) -> str:
    if "/" in client:
        return client
    return f"{client}/128" if ":" in client else f"{client}/32"


class FilterModule:
    """Filters of the role postgresql."""

    def filters(self) -> dict[str, Any]:
        """By name."""
        return {"shared_databases": shared_databases, "admissions": admissions}
