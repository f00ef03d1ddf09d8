"""Applies a folder of SQL to PostgreSQL, once and in order.

Ground floor (values and rules; no file, socket, clock or environment is touched): `model`,
`report`, `errors`, `statements`, `parse`, `plan`, `flight`, `url`, `refusals`, `config`.
First floor (one module for each thing outside): `source`, `database`, `lock`, `history`.
Second floor and roof: `runner`, `logs`, `cli`.
"""

__version__ = "0.1.0"
