"""What Helm makes of the chart, for values that people have; `python -m tests.charts` keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[1] / "k8s" / "chart"
IMAGE = {"repository": "registry.example.com/shop/migrator", "tag": "1.4.0"}
VALUES: dict[str, Any] = {"image": IMAGE, "existingSecret": "shop-app"}
URL: dict[str, Any] = {"existingSecret": "", "url": "postgresql://ROLE:PASSWORD@HOST/shop"}
MANY: dict[str, Any] = {
    "settings": {"LOCK_TIMEOUT": "500ms", "PROGRESS_INTERVAL": 0},
    "podLabels": {"sidecar.istio.io/inject": "false"},
    "podAnnotations": {"linkerd.io/inject": "disabled"},
    "image": {**IMAGE, "pullSecrets": [{"name": "registry"}]},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
}
#: The names of the files in tests/fixtures/chart, with the values that they are of.
GOLDEN: dict[str, dict[str, Any]] = {
    "hook": {},
    "revision": {"mode": "revision", **URL, "runAsUser": None},
    "phases": {"phase": "both", "postAnnotations": {"argocd.argoproj.io/sync-wave": "1"}, **MANY},
}


def golden_file(name: str) -> Path:
    return Path(__file__).parent / "fixtures" / "chart" / f"{name}.yaml"


def render_texts(
    chart: Path = CHART, revision: int = 1, name: str = "shop", **values: Any
) -> dict[str, str]:
    """What Helm makes of the chart, by the files of its templates."""
    import helm_python  # its wheels are for Linux and macOS

    with helm_python.Chart.load(str(chart)) as loaded:
        found = loaded.render({**VALUES, **values}, name=name, revision=revision)
    return dict(found)


def whole(**values: Any) -> str:
    """The same as one text, as `helm template` prints it."""
    texts = sorted(render_texts(**values).items())
    made = ((name, text.strip()) for name, text in texts)
    return "".join(f"---\n# Source: {name}\n{text}\n" for name, text in made if text)


if __name__ == "__main__":
    for name, values in GOLDEN.items():
        golden_file(name).parent.mkdir(parents=True, exist_ok=True)
        golden_file(name).write_text(whole(**values))
