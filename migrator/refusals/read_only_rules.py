"""Why a server takes no writes, and what can be typed against it."""

from __future__ import annotations

from migrator.errors import AccessError
from migrator.postgres.quoting import identifier
from migrator.postgres.url import Target

SETTING = "default_transaction_read_only"
#: Whether it is a standby, where the setting comes from (pg_settings.source), and whose it is.
READ_ONLY_WHY = """SELECT pg_is_in_recovery(), (SELECT source FROM pg_settings
  WHERE name = 'default_transaction_read_only' AND setting = 'on'),
  current_database()::text, session_user::text"""
SUPABASE = "On Supabase leave read-only mode, which a full disk turns on."
#: Where the default is kept: what takes it away.
_CHANGE = {
    "user": "ALTER ROLE {role} RESET {setting};",
    "database": "ALTER DATABASE {database} RESET {setting};",
    "database user": "ALTER ROLE {role} IN DATABASE {database} RESET {setting};",
    "configuration file": "ALTER SYSTEM SET {setting} = off; SELECT pg_reload_conf();",
}
_TAKE_OUT = {
    "client": f"Take {SETTING} out of PGOPTIONS, or out of the options of the service file.",
    "command line": f"Start the server without {SETTING} on its command line.",
}


def read_only_error(
    target: Target, standby: bool, source: str | None, database: str, role: str
) -> AccessError:
    """What a run ends with on a server that takes no writes."""
    if standby:
        remedy = "Connect to the primary."
        if len(target.hosts) > 1 and "target_session_attrs" not in target.params:
            remedy = "Add target_session_attrs=read-write to the URL, which names several hosts."
        return AccessError("the server is a standby, which takes no writes", remedy=remedy)
    if source is None:
        return AccessError("the server is read-only", remedy=f"Connect to the primary. {SUPABASE}")
    return AccessError(
        f"the server is read-only: {SETTING} is on ({source})",
        remedy=_way_out(source, database, role),
    )


def _way_out(source: str, database: str, role: str) -> str:
    if source not in _CHANGE:
        return _TAKE_OUT.get(source, f"Set {SETTING} to off. {SUPABASE}")
    change = _CHANGE[source].format(
        role=identifier(role), database=identifier(database), setting=SETTING
    )
    return f"In psql, with the right to change it: `SET {SETTING} = off; {change}` {SUPABASE}"
