"""The results: medians, the project's ratios to the others, a table and a plot of them."""

import json
import statistics
from pathlib import Path

TOLERANCE = 1.25  # of a ratio of two CPU times, in three turns on a busy machine
# Units of what is better the less there is of it.
LESS_IS_BETTER = (" µs", " ms", "KiB", "%")


class Results:
    """Figures by what was measured and of which server, several of each."""

    def __init__(self, servers: list[str]) -> None:
        self._servers = servers
        self._project, self._stock = servers[0], "stock Channels"
        self._figures: dict[str, dict[str, list[float]]] = {}

    def add(self, what: str, server: str, figure: float) -> None:
        self._figures.setdefault(what, {}).setdefault(server, []).append(figure)

    def ratio(self, what: str, server: str, other: str) -> float | None:
        """The median of one server's ratios to another, each within its turn: a machine's speed drifts."""
        figures = self._figures[what]
        pairs = list(zip(figures.get(server, []), figures.get(other, []), strict=False))
        return statistics.median(own / its for own, its in pairs) if pairs and all(its for _, its in pairs) else None

    def table(self) -> str:
        """The medians, and below them the project's ratios to each of the others."""
        lines = [f"| | {' | '.join(self._servers)} |", f"|---|{'---:|' * len(self._servers)}"]
        for what, by_server in self._figures.items():
            cells = [
                f"{statistics.median(by_server[each]):,.1f}" if each in by_server else "" for each in self._servers
            ]
            lines.append(f"| {what} | {' | '.join(cells)} |")
        others = self._servers[1:]
        lines += ["", f"| the project's figure, divided by that of | {' | '.join(others)} |"]
        lines.append(f"|---|{'---:|' * len(others)}")
        for what in self._figures:
            ratios = [self.ratio(what, self._project, each) for each in others]
            if any(ratios):
                cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
                lines.append(f"| {what} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def ratios(self) -> dict[str, dict[str, float]]:
        """The project's CPU time, divided by that of each other server."""
        of = {
            what: {each: self.ratio(what, self._project, each) for each in self._servers[1:]}
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
            if ratio > kept[what][server] * TOLERANCE
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

        rows = [what for what in self._figures if self.ratio(what, self._project, self._stock)]
        figure, axes = pyplot.subplots(figsize=(9, 0.42 * len(rows) + 1.2), layout="constrained")
        own = [self._times_better(what, self._project) for what in rows]
        axes.barh(rows, [times - 1 for times in own], left=1, color="#0c7a5e", height=0.6, label="a generated project")
        plain = {what: self._times_better(what, "plain ASGI") for what in rows if "plain ASGI" in self._figures[what]}
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
        times = self.ratio(what, server, self._stock)
        assert times, f"{what}: stock Channels has no figure"
        return 1 / times if any(unit in what for unit in LESS_IS_BETTER) else times
