"""Applies a folder of SQL to PostgreSQL, once and in order.

A module imports only modules named before it.

Ground floor (values and rules; no file, socket, clock or environment is touched): `model`,
`report`, `errors`, `durations`, `text`, `statements`, `scanner`, `parts`, `parse`, `url`,
`refusals`, `config`, `plan`, `flight`, `diagnosis`.
First floor (one module for each thing outside): `source`, `watch`, `database`, `connect`, `lock`,
`history`.
Second floor and roof: `link`, `runner`, `logs`, `commands`, `cli`.
"""

__version__ = "0.1.0"
