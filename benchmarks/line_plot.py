"""Lines over a common axis, as SVG: one panel below the other."""

from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 200  # of a panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 28, 12  # margins of a panel
AXIS = 40  # below the last panel
COLORS = ["#0c7a5e", "#e08a3c", "#3c6fe0", "#a0438f"]
STYLE = "text { font: 12px sans-serif; fill: #444 } path { fill: none; stroke-width: 1.5 } line { stroke: #bbb }"


@dataclass
class Line:
    name: str
    points: list[tuple[float, float]]


@dataclass
class Panel:
    title: str
    lines: list[Line]
    marks: list[float]  # dashed vertical lines


def line_plot(panels: list[Panel], axis: str) -> str:
    """axis: what the horizontal axis shows."""
    right = max(x for panel in panels for line in panel.lines for x, _ in line.points)
    parts = [part for number, panel in enumerate(panels) for part in _panel(panel, number * HEIGHT, right)]
    bottom = len(panels) * HEIGHT + AXIS
    step = _step(right)
    parts += [_text(_x(tick * step, right), bottom - 28, f"{tick * step:g}") for tick in range(int(right / step) + 1)]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom - 8, axis))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" width="{WIDTH}" height="{bottom}">'
    return "\n".join(
        [head, f"<style>{STYLE}</style>", f'<rect width="{WIDTH}" height="{bottom}" fill="#fff"/>', *parts, "</svg>\n"]
    )


def _panel(panel: Panel, top: float, right: float) -> list[str]:
    greatest = max(1e-9, *(y for line in panel.lines for _, y in line.points))
    low = top + HEIGHT - BOTTOM

    def height(y: float) -> float:
        return low - y / greatest * (HEIGHT - TOP - BOTTOM)

    parts = [_text(LEFT, top + 18, panel.title, "start")]
    step = _step(greatest)
    for tick in range(int(greatest / step) + 1):
        y = height(tick * step)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{tick * step:g}", "end"))
    for mark in panel.marks:
        x = _x(mark, right)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + TOP}" y2="{low}" stroke-dasharray="4 3"/>')
    for number, line in enumerate(panel.lines):
        color = COLORS[number % len(COLORS)]
        path = " L".join(f"{_x(x, right):.1f} {height(y):.1f}" for x, y in line.points)
        parts.append(f'<path d="M{path}" stroke="{color}"/>')
        x = WIDTH - RIGHT - 90 * (len(panel.lines) - number)
        parts.append(f'<text x="{x}" y="{top + 18}" style="fill: {color}">{escape(line.name)}</text>')
    return parts


def _x(x: float, right: float) -> float:
    return LEFT + x / right * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _step(greatest: float) -> float:
    """A round distance of at most six ticks."""
    unit = 10.0 ** (len(str(int(greatest))) - 1)
    return next(step for step in (unit / 5, unit / 2, unit, unit * 2) if greatest / step <= 6)
