"""How each tool is called on a database and a folder, and what it leaves there of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.conftest import Database

PATIENCE = 120  # seconds for one run of a tool
#: The native engines, which are not used, would be fetched from a server of Prisma's.
PRISMA_ENVIRONMENT = {
    "CHECKPOINT_DISABLE": "1",
    "PRISMA_QUERY_ENGINE_LIBRARY": os.devnull,
    "PRISMA_SCHEMA_ENGINE_BINARY": os.devnull,
}


@dataclass(frozen=True)
class Call:
    """One run: the words behind the program, and the files that the tool wants to be there."""

    words: list[str]
    files: dict[str, str]


@dataclass(frozen=True)
class Peer:
    """A tool of others."""

    name: str
    table: str  #: its own, with the schema
    call: Callable[[str, Path], Call]  #: by the URL and the folder
    within: str = "migrations"  #: where in the project the folder lies
    program: str = ""  #: within node_modules; "": one that the machine has
    modules: Path | None = None  #: node_modules, once it is there

    def at(self, modules: Path) -> Peer:
        return replace(self, modules=modules)

    def run(self, database: Database, project: Path, *words: str) -> None:
        """Have the tool apply what is in the project, or do what `words` say; it must succeed."""
        started = self.start(database, project, *words)
        try:
            output, _ = started.communicate(timeout=PATIENCE)
        finally:
            started.kill()
        assert started.returncode == 0, output

    def start(self, database: Database, project: Path, *words: str) -> subprocess.Popen[str]:
        url = f"{database.url}?sslmode=disable"
        call = self.call(url, project / self.within)
        for name, text in call.files.items():
            (project / name).write_text(text)
        program = self.name
        if self.modules is not None:
            program = str(self.modules / self.program)
            if not (project / "node_modules").exists():
                (project / "node_modules").symlink_to(self.modules)  # for its configuration
        return subprocess.Popen(
            [program, *(words or call.words)],
            cwd=project,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(project),
                "DATABASE_URL": url,
                "CI": "1",
                "DO_NOT_TRACK": "1",
                "SUPABASE_TELEMETRY_DISABLED": "1",
                **PRISMA_ENVIRONMENT,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _dbmate(url: str, folder: Path) -> Call:
    return Call(["--url", url, "-d", str(folder), "--no-dump-schema", "migrate"], {})


def _supabase(url: str, folder: Path) -> Call:
    return Call(["db", "push", f"--remote={url}", "--yes", "--include-all"], {})


def _node_pg_migrate(url: str, folder: Path) -> Call:
    return Call(["up", "--migrations-dir", str(folder)], {})


def _graphile_migrate(url: str, folder: Path) -> Call:
    return Call(["migrate"], {".gmrc": json.dumps({"migrationsFolder": str(folder)})})


def _drizzle(url: str, folder: Path) -> Call:
    config = {"dialect": "postgresql", "out": str(folder), "dbCredentials": {"url": url}}
    text = f"export default {json.dumps(config)};\n"
    return Call(["migrate", "--config", "drizzle.config.ts"], {"drizzle.config.ts": text})


#: The schema engine that is in the package, as WebAssembly, upon a driver of JavaScript's. That one
#: would cut a file at each semicolon; Prisma's own driver sends it whole, and so does this.
PRISMA_CONFIG = """
import { PrismaPg } from "@prisma/adapter-pg";
class Whole extends PrismaPg {
  async connect() {
    const connected = await super.connect();
    connected.executeScript = async (script) => void (await connected.client.query(script));
    return connected;
  }
}
export default {
  experimental: { adapter: true },
  engine: "js",
  schema: "schema.prisma",
  migrations: { path: FOLDER },
  adapter: async () => new Whole({ connectionString: process.env.DATABASE_URL }),
};
"""
PRISMA_SCHEMA = 'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n'


def _prisma(url: str, folder: Path) -> Call:
    config = PRISMA_CONFIG.replace("FOLDER", json.dumps(str(folder)))
    return Call(["migrate", "deploy"], {"prisma.config.ts": config, "schema.prisma": PRISMA_SCHEMA})


def _sql_migrate(url: str, folder: Path) -> Call:
    config = f"development:\n  dialect: postgres\n  datasource: {url}\n  dir: {folder}\n"
    return Call(["up"], {"dbconfig.yml": config})


PEERS = {
    "dbmate": Peer(
        "dbmate", "public.schema_migrations", _dbmate, program="@dbmate/linux-x64/bin/dbmate"
    ),
    "supabase": Peer(
        "supabase",
        "supabase_migrations.schema_migrations",
        _supabase,
        "supabase/migrations",
        "@supabase/cli-linux-x64/bin/supabase",
    ),
    "node-pg-migrate": Peer(
        "node-pg-migrate", "public.pgmigrations", _node_pg_migrate, program=".bin/node-pg-migrate"
    ),
    "graphile-migrate": Peer(
        "graphile-migrate",
        "graphile_migrate.migrations",
        _graphile_migrate,
        program=".bin/graphile-migrate",
    ),
    "drizzle": Peer(
        "drizzle", "drizzle.__drizzle_migrations", _drizzle, program=".bin/drizzle-kit"
    ),
    "prisma": Peer("prisma", "public._prisma_migrations", _prisma, program=".bin/prisma"),
    "sql-migrate": Peer("sql-migrate", "public.gorp_migrations", _sql_migrate),
}
