"""The queries of docs/monitoring.md, parsed by Grafana's own grammar of LogQL."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.pages import ROOT

PAGE = (ROOT / "docs/monitoring.md").read_text()
#: For each query what its label filters compare, and the places that the grammar does not take.
PARSE = """
import {parser} from "@grafana/lezer-logql";
const found = JSON.parse(process.argv[1]).map(query => {
  const said = {filters: [], errors: []};
  parser.parse(query).iterate({enter(node) {
    const text = query.slice(node.from, node.to);
    if (node.type.isError) said.errors.push(text);
    if (["Matcher", "NumberFilter", "UnitFilter"].includes(node.name)) said.filters.push(text);
  }});
  return said;
});
console.log(JSON.stringify(found));
"""


def parsed(npm_tools: Path, *queries: str) -> list[dict[str, list[str]]]:
    words = ["node", "--input-type=module", "--eval", PARSE, "--", json.dumps(queries)]
    done = subprocess.run(words, cwd=npm_tools.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, list[str]]] = json.loads(done.stdout)
    return found


def test_each_query_is_logql_with_the_filters_that_it_shows(npm_tools: Path) -> None:
    (block,) = re.findall(r"```logql\n(.*?)```", PAGE, re.DOTALL)
    queries = block.splitlines()
    found = parsed(npm_tools, *queries)
    assert len(found) == len(queries) > 3
    for query, said in zip(queries, found, strict=True):
        assert said["errors"] == []
        shown = [part for part in query.split(" | ") if part != "json"]
        assert said["filters"] == [shown[0].strip("{}"), *shown[1:]]


def test_what_is_no_logql_is_seen(npm_tools: Path) -> None:
    (said,) = parsed(npm_tools, '{container="migrate"} | jsn | exit_code>"x"')
    assert said["errors"] != []
