"""Applies a folder of SQL to PostgreSQL, once and in order.

A module imports only modules named before it.

Ground floor (values and rules; no file, socket, clock or environment is touched): `display`,
`masking`, `model`, `report`, `errors`, `durations`, `text`, `statements`, `scanner`, `sensitive`,
`parts`, `effects`, `order`, `parse`, `url`, `refusals`, `config`, `plan`, `quoting`, `fence`,
`flight`, `journal`, `undo`, `declare`, `snapshot`, `diagnosis`, `settle`, `steps`, `mirror`,
`trackers`, `adoption`, `answers`, `overview`.
First floor (one module for each thing outside): `source`, `files`, `git`, `watch`, `database`,
`connect`, `observer`, `lock`, `history`, `archive`, `catalog`, `sights`, `foreign`, `orphan`.
Second floor and roof: `link`, `sync`, `alone`, `reader`, `flier`, `runner`, `rollback`,
`scratch`, `rehearse`, `baseline`, `repair`, `adopt`, `logs`, `commands`, `cli`, `__main__`.
"""

__version__ = "0.1.0"
