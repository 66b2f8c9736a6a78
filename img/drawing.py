"""Boxes, arrows and text as SVG, in a light and a dark palette."""
from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

PALETTES = {
    "light": {"text": "#1f2328", "muted": "#59636e", "line": "#818b98", "panel": "#d1d9e0", "L": "#ddf4ff", "L_edge": "#0969da",
              "H": "#fbefff", "H_edge": "#8250df", "io": "#f6f8fa", "io_edge": "#818b98", "grad": "#1a7f37"},
    "dark": {"text": "#f0f6fc", "muted": "#9198a1", "line": "#7d8590", "panel": "#3d444d", "L": "#0d2847", "L_edge": "#4493f8",
             "H": "#2a1c44", "H_edge": "#ab7df8", "io": "#151b23", "io_edge": "#7d8590", "grad": "#3fb950"},
}


@dataclass(frozen=True)
class Box:
    """A labelled box by its centre."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    kind: str = "io"

    def side(self, name: str) -> tuple[float, float]:
        """Middle of the left, right, top or bottom edge."""
        dx, dy = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}[name]
        return self.x + dx * self.width / 2, self.y + dy * self.height / 2


class Drawing:
    """SVG elements in one palette."""

    def __init__(self, palette: dict[str, str]) -> None:
        self.palette, self.elements = palette, []

    def text(self, x: float, y: float, text: str, *, size: float = 13, colour: str = "text", anchor: str = "middle",
             weight: str = "normal") -> None:
        self.elements.append(f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{self.palette[colour]}" '
                             f'text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>')

    def note(self, x: float, y: float, text: str) -> None:
        self.text(x, y, text, size=12, colour="muted", anchor="start")

    def frame(self, x: float, y: float, width: float, height: float, *, fill: str = "none", edge: str = "panel",
              dash: str = "", radius: float = 6, stroke: float = 1.2) -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.elements.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
                             f'fill="{self.palette.get(fill, "none")}" stroke="{self.palette[edge]}" '
                             f'stroke-width="{stroke:g}"{dashed}/>')

    def box(self, box: Box) -> Box:
        self.frame(box.x - box.width / 2, box.y - box.height / 2, box.width, box.height, fill=box.kind, edge=f"{box.kind}_edge")
        first = box.y - 8 * (len(box.lines) - 1) + 4.5
        for number, line in enumerate(box.lines):
            style = {"weight": "600"} if number == 0 else {"size": 11.5, "colour": "muted"}
            self.text(box.x, first + 16 * number, line, **style)
        return box

    def arrow(self, *points: tuple[float, float], colour: str = "line", width: float = 1.3, head: bool = True) -> None:
        path = " ".join(f"{'M' if i == 0 else 'L'}{x:g} {y:g}" for i, (x, y) in enumerate(points))
        marker = f' marker-end="url(#{colour})"' if head else ""
        self.elements.append(f'<path d="{path}" fill="none" stroke="{self.palette[colour]}" stroke-width="{width:g}"{marker}/>')

    def plus(self, x: float, y: float) -> Box:
        self.elements.append(f'<circle cx="{x:g}" cy="{y:g}" r="9" fill="none" stroke="{self.palette["line"]}" '
                             'stroke-width="1.3"/>')
        self.text(x, y + 4.5, "+", size=14)
        return Box(x, y, 18, 18, ())

    def svg(self, width: float, height: float, title: str) -> str:
        heads = "".join(f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
                        f'orient="auto"><path d="M0 0.5 L8 4 L0 7.5 z" fill="{self.palette[name]}"/></marker>'
                        for name in ("line", "L_edge", "H_edge"))
        body = "\n".join(self.elements)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
                f'height="{height:g}" font-family="Helvetica, Arial, sans-serif" role="img">\n<title>{escape(title)}</title>\n'
                f"<defs>{heads}</defs>\n{body}\n</svg>\n")
