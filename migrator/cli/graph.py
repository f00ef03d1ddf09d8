"""What requires what -> a Mermaid flowchart."""

from __future__ import annotations

from migrator.plan.order import Graph

#: The colours of the picture, by state.
COLOURS = {
    "applied": "fill:#d4edda,stroke:#28a745,color:#000",
    "pending": "fill:#fff3cd,stroke:#d39e00,color:#000",
    "late": "fill:#ffe0b3,stroke:#e36209,color:#000",
    "held": "fill:#e2e3e5,stroke:#6c757d,color:#000",
    "drifted": "fill:#f8d7da,stroke:#dc3545,color:#000",
    "missing": "fill:#f8d7da,stroke:#dc3545,color:#000",
    "dirty": "fill:#f8d7da,stroke:#dc3545,color:#000",
    "unknown": "fill:#fff,stroke:#dc3545,stroke-dasharray:4,color:#000",
}


def mermaid(graph: Graph) -> str:
    """A Mermaid flowchart of the versions in the direction of time.

    An arrow leads from what is required to what requires it.

    What is applied and has no part in any requirement is left out.
    """
    needs = graph.needs
    linked = {version for version, found in needs.items() if found}
    linked |= {need for found in needs.values() for need in found}
    shown = {v: state for v, state in graph.states if state != "applied" or v in linked}
    shown |= {version: "unknown" for version in sorted(linked) if version not in shown}
    names = {version: f"m{place}" for place, version in enumerate(shown, 1)}
    lines = ["graph TD"]
    for version, state in shown.items():
        lines.append(f'  {names[version]}["{_label(version)}<br/>{state}"]:::{state}')
    for version in shown:
        for need in dict.fromkeys(needs.get(version, ())):
            lines.append(f"  {names[need]} --> {names[version]}")
    used = set(shown.values())
    lines += [f"  classDef {state} {look}" for state, look in COLOURS.items() if state in used]
    return "\n".join(lines) + "\n"


def _label(version: str) -> str:
    """A version of the history may be any text; Mermaid writes such characters as #code;."""
    return "".join(c if c.isalnum() or c in "_-. " else f"#{ord(c)};" for c in version)
