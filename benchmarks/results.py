"""The results: medians, the project's ratios to the others, a table and a plot of them."""

import json
import math
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

from peers import Peer

TOLERANCE = 1.25  # of a ratio of two CPU times, in three turns on a busy machine
# Units of what is better the less there is of it.
LESS_IS_BETTER = (" µs", " ms", "KiB", "MiB", "%")
NO_SCORE = "(0: kept)"  # a close code
# Stands above the figures, as not all servers do the same for them.
PROPERTIES: dict[str, Callable[[Peer, Path], str]] = {
    "version": Peer.version,
    "numbers broadcasts, and replays those that were missed": lambda peer, python: "yes" if peer.replays else "no",
    "validates messages": lambda peer, python: "yes" if peer.validates else "no",
    "Django's users and sessions": lambda peer, python: "yes" if peer.sessions else "no",
}
NOT_MEASURED = """\
uWebSockets.js is no npm package; measured is the republished 20.30, as the later ones need glibc 2.38. Centrifugo,
Phoenix and AnyCable are absent: their servers are in none of PyPI, npm and Debian.
"""


class Results:
    """Figures by what was measured and of which server, several of each."""

    def __init__(self, peers: dict[str, Peer], python: Path) -> None:
        """python: of the environment that runs the servers."""
        self._servers = list(peers)
        self._machine = machine(python)
        self._properties = {what: [of(peer, python) for peer in peers.values()] for what, of in PROPERTIES.items()}
        self._project, self._stock = "project", "stock Channels"
        self._figures: dict[str, dict[str, list[float]]] = {}

    def add(self, what: str, server: str, figure: float) -> None:
        self._figures.setdefault(what, {}).setdefault(server, []).append(figure)

    def ratio(self, what: str, server: str, other: str) -> float | None:
        """The median of one server's ratios to another, each within its turn: a machine's speed drifts."""
        figures = self._figures[what]
        pairs = list(zip(figures.get(server, []), figures.get(other, []), strict=False))
        is_defined = pairs and all(its and math.isfinite(its) and math.isfinite(own) for own, its in pairs)
        return statistics.median(own / its for own, its in pairs) if is_defined else None

    def table(self) -> str:
        """The machine, the servers, the medians with their spread, and the project's ratios to each of the others."""
        lines = [self._machine, "", *self._head("", self._servers)]
        lines += [f"| {what} | {' | '.join(cells)} |" for what, cells in self._properties.items()]
        for what, by_server in self._figures.items():
            cells = [median_and_spread(by_server.get(each, [])) for each in self._servers]
            if NO_SCORE in what:
                cells = [cell.replace(",", "") for cell in cells]
            lines.append(f"| {what} | {' | '.join(cells)} |")
        others = [each for each in self._servers if each != self._project]
        lines += ["", *self._head("the project's figure, divided by that of", others)]
        for what in self._figures:
            ratios = [self.ratio(what, self._project, each) for each in others]
            if any(ratios) and NO_SCORE not in what:
                cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
                lines.append(f"| {what} | {' | '.join(cells)} |")
        return "\n".join([*lines, "", NOT_MEASURED])

    @staticmethod
    def _head(title: str, columns: list[str]) -> list[str]:
        return [f"| {title} | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]

    def ratios(self) -> dict[str, dict[str, float]]:
        """The project's CPU time, divided by that of each other server."""
        of = {
            what: {each: self.ratio(what, self._project, each) for each in self._servers if each != self._project}
            for what in self._figures
            if "CPU" in what
        }
        return {what: {each: round(ratio, 3) for each, ratio in found.items() if ratio} for what, found in of.items()}

    def compare(self, folder: Path) -> str:
        """The ratios that are worse than those of ratios.json by more than TOLERANCE, one a line; empty for none."""
        kept = json.loads((folder / "ratios.json").read_text())
        worse = [
            f"{what}: {ratio:.2f} of {server}, was {kept[what][server]:.2f}"
            for what, found in self.ratios().items()
            for server, ratio in found.items()
            if server in kept[what] and ratio > kept[what][server] * TOLERANCE
        ]
        return "\n".join(worse)

    def write(self, folder: Path) -> None:
        """results.md, results.svg, and ratios.json for compare()."""
        (folder / "results.md").write_text(self.table())
        (folder / "ratios.json").write_text(json.dumps(self.ratios(), indent=2) + "\n")
        self._plot(folder / "results.svg")

    def _plot(self, path: Path) -> None:
        """How many times better than stock Channels, and where an application without a framework is."""
        import matplotlib

        matplotlib.use("svg")
        matplotlib.rcParams.update({"svg.hashsalt": "results", "font.size": 10})
        from matplotlib import pyplot

        rows = [what for what in self._figures if NO_SCORE not in what and self._times_better(what, self._project)]
        figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(rows) + 1.2), layout="constrained")
        own = [self._times_better(what, self._project) for what in rows]
        axes.barh(rows, [times - 1 for times in own], left=1, color="#0c7a5e", height=0.6, label="a generated project")
        plain = {what: times for what in rows if (times := self._times_better(what, "plain ASGI"))}
        axes.plot(list(plain.values()), list(plain), "D", color="#e08a3c", label="plain ASGI, without a framework")
        axes.set(xscale="log", xlim=(1, max([*own, *plain.values()]) * 1.2), xlabel="times better than stock Channels")
        axes.xaxis.set_major_formatter("{x:g} ×")
        for row, times in zip(rows, own, strict=True):
            axes.annotate(f"{times:.3g} ×", (1.01, row), xycoords=("axes fraction", "data"), va="center")
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path, metadata={"Date": None})

    def _times_better(self, what: str, server: str) -> float:
        """Zero if one of the two has no figure."""
        times = self.ratio(what, server, self._stock) or 0
        return 1 / times if times and any(unit in what for unit in LESS_IS_BETTER) else times


def median_and_spread(figures: list[float]) -> str:
    """Half of the distance between the least and the greatest follows the median."""
    if not figures:
        return ""
    median, spread = statistics.median(figures), (max(figures) - min(figures)) / 2
    digits = 0 if median >= 1_000 or median == int(median) else 1
    text = f"{median:,.{digits}f}"
    return f"{text} ±{spread:,.{digits}f}" if len(figures) > 1 and math.isfinite(spread) else text


def machine(python: Path) -> str:
    """The processor, the system, and what runs the servers."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    python_version, node_version = (
        subprocess.run([program, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        for program in (python, "node")
    )
    release = ".".join(platform.release().split(".")[:2])
    processor = f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}"
    return f"{processor}, {platform.system()} {release}, {python_version}, Node.js {node_version}."
