"""The roofline plot (Williams et al. 2009) of measured rows as SVG: operations per byte against Gop/s, both logarithmic, under
what the read bandwidth and the f32 multiply-adds of the machine allow. Products of 8-bit integers may pass the flat part."""
import math
import statistics
from xml.sax.saxutils import escape

import rows

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 860, 520, 70, 50, 150, 60
COLOURS = dict(zip(rows.FORMATS, ["#4c566a", "#1f77b4", "#17becf", "#2ca02c", "#ff7f0e", "#d62728", "#9467bd"]))


class Axis:
    """Maps values of some decades to pixels."""

    def __init__(self, values, begin, end):
        self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
        self.begin, self.end = begin, end

    def at(self, value):
        return self.begin + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.begin)

    def decades(self):
        return [10.0**d for d in range(self.low, self.high + 1)]


def points(results):
    """(row, whose, operations per byte, Gop/s)"""
    for r in results["rows"]:
        if r["kind"] == "sessions":
            continue
        for whose in ("ours", "theirs"):
            yield r, whose, r["ops_per_token"] / r["bytes_per_token"], statistics.median(r[whose]) * r["ops_per_token"] / 1e9


def mark(row, whose, x, y):
    colour = COLOURS[row["format"]]
    paint = f'fill="{colour}"' if whose == "ours" else f'fill="white" stroke="{colour}" stroke-width="1.5"'
    name = f"{'tmodel' if whose == 'ours' else 'llama.cpp'}, {row['name']}: {statistics.median(row[whose]):.1f} tok/s"
    shape = (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {paint}>' if row["kind"] == "decode" else
             f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" {paint}>')
    return f"{shape}<title>{escape(name)}</title></{'circle' if row['kind'] == 'decode' else 'rect'}>"


def text(x, y, what, **attributes):
    more = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{escape(what)}</text>'


def svg(results):
    bandwidth = statistics.median(b for r in results["rows"] for b in r["bandwidth"])
    peak = results["multiply_adds"]
    found = list(points(results))
    x = Axis([p[2] for p in found] + [1, 2 * peak / bandwidth], LEFT, WIDTH - RIGHT)
    y = Axis([p[3] for p in found] + [peak, bandwidth], HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           text(LEFT, 24, f"{results['machine']['cpu']}, {results['threads']} threads: {bandwidth:.1f} GB/s, {peak:.0f} Gop/s of f32 multiply-adds",
                font_size=14)]
    for v in x.decades():
        out += [f'<path d="M{x.at(v):.1f} {y.begin}V{y.end}" stroke="#ddd"/>', text(x.at(v), y.begin + 18, f"{v:g}", text_anchor="middle")]
    for v in y.decades():
        out += [f'<path d="M{x.begin} {y.at(v):.1f}H{x.end}" stroke="#ddd"/>', text(x.begin - 8, y.at(v) + 4, f"{v:g}", text_anchor="end")]
    out += [text((x.begin + x.end) / 2, HEIGHT - 16, "operations per byte read", text_anchor="middle"),
            text(20, (y.begin + y.end) / 2, "Gop/s", text_anchor="middle", transform=f"rotate(-90 20 {(y.begin + y.end) / 2})")]

    ridge = peak / bandwidth  # left of it memory decides, right of it arithmetic
    left = max(10.0**x.low, 10.0**y.low / bandwidth)
    out.append(f'<path d="M{x.at(left):.1f} {y.at(left * bandwidth):.1f}L{x.at(ridge):.1f} {y.at(peak):.1f}H{x.end}" fill="none" '
               'stroke="black" stroke-width="1.5"/>')
    # llama.cpp's below ours: where they coincide, the filled one stays seen inside the other's edge.
    out += [mark(r, whose, x.at(ops), y.at(speed)) for r, whose, ops, speed in sorted(found, key=lambda p: p[1] == "ours")]

    at = WIDTH - RIGHT + 16
    shown = [f for f in rows.FORMATS if any(p[0]["format"] == f for p in found)]
    for i, format in enumerate(shown):
        out += [f'<rect x="{at}" y="{TOP + 20 * i}" width="10" height="10" fill="{COLOURS[format]}"/>', text(at + 16, TOP + 20 * i + 10, format)]
    for i, line in enumerate(("filled: tmodel", "hollow: llama.cpp", "circle: decode", "square: prompt")):
        out.append(text(at, TOP + 20 * len(shown) + 24 + 18 * i, line))
    return "\n".join([*out, "</svg>"]) + "\n"
