"""Draw the network into img/model_architecture_github.svg and its dark twin, from the code's own settings.

    python -m img.make_architecture

Step order, channels, depths, heads, windows and parameter counts are read from `Config` and the model that it builds, so
a drawing made after a change of the settings shows the change.
"""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from exp_config import Config
from img.drawing import PALETTES, Box, Drawing
from models import HVR
from models.hvr import step_sequence

FOLDER = Path(__file__).resolve().parent
NAMES = {"light": "model_architecture_github.svg", "dark": "model_architecture_github_dark.svg"}
STEP, LEFT, RIGHT = 68, 176, 206  # width of one step of the recursion, and the room left and right of them all
PANEL_TOP, PANEL_HEIGHT = 330, 370


def parameters(module: nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()):,} parameters"


def draw_recursion(d: Drawing, model: HVR, config: Config) -> float:
    """The whole sampling run as a row of L and H steps on the rails of zL and zH; returns the width it takes."""
    steps, per_supervision = step_sequence(model.T, model.C, model.N), len(step_sequence(model.T, model.C, 1))
    width = LEFT + STEP * len(steps) + RIGHT
    bus, rail_l, rail_h, D, E = 66, 136, 222, config.z_dims, config.embed_dims
    d.text(20, 26, f"HVR, {parameters(model)}: {model.N} supervision steps, each {model.C} × ({model.T} × L, then H)", size=15,
           anchor="start", weight="600")
    photo = d.box(Box(55, bus, 70, 34, ("photo x",)))
    embed = d.box(Box(138, bus, 66, 38, ("embed", f"3 → {E}")))
    d.arrow(photo.side("right"), embed.side("left"))
    last_l = LEFT + STEP * (steps.rindex("L") + 0.5)
    d.arrow(embed.side("right"), (last_l, bus), head=False)
    d.note(LEFT + 6, bus - 8, "x_e")
    for y, name, edge in ((rail_l, "zL", "L_edge"), (rail_h, "zH", "H_edge")):
        d.box(Box(104, y, 40, 26, (name,), name[1]))
        d.arrow((124, y), (width - RIGHT + (-STEP / 2 if name == "zL" else 14), y), colour=edge, head=name == "zH")
    d.text(76, (rail_l + rail_h) / 2 - 3, "drawn from", size=11.5, colour="muted")
    d.text(76, (rail_l + rail_h) / 2 + 12, "the seed", size=11.5, colour="muted")
    for column, kind in enumerate(steps):
        x = LEFT + STEP * (column + 0.5)
        if kind == "L":
            step = d.box(Box(x, rail_l, 40, 40, ("L",), "L"))
            d.arrow((x, bus), step.side("top"))
            d.arrow((x, rail_h), step.side("bottom"), colour="H_edge")
        else:
            step = d.box(Box(x, rail_h, 40, 40, ("H",), "H"))
            d.arrow((x, rail_l), step.side("top"), colour="L_edge")
    for start in range(0, len(steps), per_supervision):
        x = LEFT + STEP * start
        d.frame(x + STEP * (per_supervision - 2) + 6, rail_l - 30, 2 * STEP - 12, rail_h - rail_l + 60, edge="grad", dash="5 4")
        d.arrow((x + 8, 272), (x + STEP * per_supervision - 8, 272), head=False, colour="panel")
        d.text(x + STEP * per_supervision / 2, 290, f"supervision step {start // per_supervision + 1}", size=12, colour="muted")
    d.text(width - 20, 26, "dashed: the steps that training sends gradients through", size=12, colour="grad", anchor="end")
    activation = "tanh" if model.normalize_one_to_one else "sigmoid"
    head = d.box(Box(width - RIGHT + 62, rail_h, 96, 38, ("head", f"{D} → 3, {activation}")))
    out = d.box(Box(width - 55, rail_h, 70, 34, ("result",)))
    d.arrow(head.side("right"), out.side("left"))
    return width


def draw_l(d: Drawing, model: HVR, config: Config, left: float, width: float) -> None:
    """The light UNet++ as its triangle of blocks."""
    f, D, E, top = config.unet_init_features, config.z_dims, config.embed_dims, PANEL_TOP
    d.frame(left, top, width, PANEL_HEIGHT, radius=8)
    d.text(left + 16, top + 26, "L: light UNet++", size=15, anchor="start", weight="600")
    d.text(left + width - 16, top + 26, parameters(model.L_net_model), size=12, colour="muted", anchor="end")
    across, first, rows = 70, left + 164, [top + 104, top + 182, top + 260]
    nodes = {(i, j): d.box(Box(first + across * (i + 2 * j), rows[i], 62, 40, (f"x{i}{j}", f"{f * 2**i}"), "L"))
             for i, j in ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2))}
    source = d.box(Box(left + 66, rows[0], 100, 40, ("x_e, zL+zH", f"{E} + {D}")))
    d.arrow(source.side("right"), nodes[0, 0].side("left"))
    for i, j in ((0, 0), (1, 0)):
        d.arrow(nodes[i, j].side("bottom"), (nodes[i, j].x, rows[i + 1]), nodes[i + 1, j].side("left"))
    for (i, j), (k, m) in (((1, 0), (0, 1)), ((2, 0), (1, 1)), ((1, 1), (0, 2))):
        d.arrow(nodes[i, j].side("right"), (nodes[k, m].x, rows[i]), nodes[k, m].side("bottom"))
    for a, b in (((0, 0), (0, 1)), ((0, 1), (0, 2))):
        d.arrow(nodes[a].side("right"), nodes[b].side("left"))
    start, end = nodes[1, 0], nodes[1, 1]
    d.arrow((start.x + 20, start.y - 20), (start.x + 20, start.y - 30), (end.x - 12, start.y - 30), (end.x - 12, end.y - 20))
    d.arrow(nodes[0, 0].side("top"), (nodes[0, 0].x, rows[0] - 36), (nodes[0, 2].x, rows[0] - 36), nodes[0, 2].side("top"))
    last = nodes[0, 2]
    d.arrow(last.side("right"), (last.x + 46, rows[0]))
    d.text(last.x + 50, rows[0] - 2, f"1×1 → {D}", size=11.5, colour="muted", anchor="start")
    d.text(last.x + 50, rows[0] + 14, "added to zL", size=11.5, colour="muted", anchor="start")
    groups = f"GroupNorm in {config.unet_num_groups} groups"
    d.note(left + 16, top + 318, f"each box: 2 × (conv 3×3, {groups}, LeakyReLU); its channels below")
    d.note(left + 16, top + 340, "down: max pooling 2×2; up: bilinear ×2; arrows that meet are concatenated")


def draw_h(d: Drawing, model: HVR, config: Config, left: float, width: float) -> None:
    """The Swin2SR features: the layers in a row, and one block below."""
    D, top, depths, heads = config.z_dims, PANEL_TOP, config.swin_depths, config.swin_num_heads
    d.frame(left, top, width, PANEL_HEIGHT, radius=8)
    d.text(left + 16, top + 26, "H: Swin2SR features", size=15, anchor="start", weight="600")
    d.text(left + width - 16, top + 26, parameters(model.H_net_model), size=12, colour="muted", anchor="end")
    layers = [(f"layer {number}", f"{depth} blocks") for number, depth in enumerate(depths, 1)]
    row = [("zH+zL", f"{D}"), ("1×1", "norm"), *layers, ("norm",), ("3×3",)]
    y, gap = top + 104, (width - 70) / len(row)
    boxes = [Box(left + 16 + gap * (column + 0.5), y, min(70, gap - 14), 44, lines, "H" if column else "io")
             for column, lines in enumerate(row)]
    plus = d.plus(left + width - 40, y)
    chain(d, [*map(d.box, boxes), plus])
    d.arrow(boxes[0].side("top"), (boxes[0].x, y - 42), (plus.x, y - 42), plus.side("top"))
    d.text(plus.x, y + 28, "new zH", size=11.5, colour="muted")
    d.note(left + 16, top + 160, "a layer: its blocks, conv 3×3, conv 1×1, and its input added")
    window, y = config.swin_window_size, top + 236
    d.text(left + 16, top + 194, "a block", weight="600", anchor="start")
    hidden = int(D * config.swin_mlp_ratio)
    count = "/".join(map(str, dict.fromkeys(heads)))
    attention = Box(left + 116, y, 132, 44, ("cosine attention", f"{window}×{window} window, {count} heads"), "H")
    first, second = (left + 16 + share * width for share in (0.5, 0.9))
    parts = [attention, Box(attention.x + 104, y, 50, 44, ("norm",), "H"), Box(first, y, 18, 18, ()),
             Box(first + 66, y, 86, 44, ("MLP", f"{D} → {hidden} → {D}"), "H"), Box(first + 144, y, 50, 44, ("norm",), "H"),
             Box(second - 8, y, 18, 18, ())]
    chain(d, [d.box(part) if part.lines else d.plus(part.x, part.y) for part in parts])
    d.arrow((left + 18, y), attention.side("left"))
    for x, target in ((left + 34, parts[2]), (first + 16, parts[5])):
        d.arrow((x, y), (x, y - 34), (target.x, y - 34), target.side("top"))
    d.arrow(parts[5].side("right"), (left + width - 12, y))
    d.note(left + 16, top + 296, f"of two neighbouring blocks the second has its windows shifted by {window // 2} pixels")
    d.note(left + 16, top + 318, "attention: cosine similarity, learned temperature, log-spaced position bias")
    d.note(left + 16, top + 340, "full resolution throughout; no dropout")


def chain(d: Drawing, boxes: Iterable[Box]) -> None:
    """Arrows from each box to the next."""
    boxes = list(boxes)
    for a, b in zip(boxes, boxes[1:], strict=False):
        d.arrow(a.side("right"), b.side("left"))


def draw(palette: dict[str, str], config: Config) -> str:
    """The whole picture as SVG text."""
    model, d = HVR.from_config(config), Drawing(palette)
    width = draw_recursion(d, model, config)
    middle = 20 + (width - 60) * 0.5
    draw_l(d, model, config, 20, middle - 20)
    draw_h(d, model, config, middle + 20, width - 40 - middle)
    return d.svg(width, PANEL_TOP + PANEL_HEIGHT + 20, f"HVR network, {parameters(model)}")


def main() -> None:
    """Write both drawings."""
    for theme, palette in PALETTES.items():
        (FOLDER / NAMES[theme]).write_text(draw(palette, Config()), encoding="utf-8")
        print(f"written: img/{NAMES[theme]}")


if __name__ == "__main__":
    main()
