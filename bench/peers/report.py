#!/usr/bin/env python3
"""Tables and the plot from results.json. Usage: report.py FOLDER, which holds a results.json, writes them again."""
import json
import math
import pathlib
import statistics
import sys

import roofline
import rows


def ratios(row):
    return [ours / theirs for ours, theirs in zip(row["ours"], row["theirs"])]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def rate(values):
    median = statistics.median(values)
    return f"{median:.0f}" if median >= 100 else f"{median:.1f}"


def target(value):
    return "" if value is None else f"{value:g}"


def of_bandwidth(row):
    """GB/s that the bytes of a token make, and their part of the bandwidth of the same round."""
    read = [r * row["bytes_per_token"] / 1e9 for r in row["ours"]]
    part = statistics.median(r / b for r, b in zip(read, row["bandwidth"]))
    return f"{statistics.median(read):.1f} of {statistics.median(row['bandwidth']):.1f} GB/s, {100 * part:.0f} %"


def group_ratios(members):
    """The geometric mean over the members in each round."""
    return [math.prod(r) ** (1 / len(members)) for r in zip(*map(ratios, members))]


def label(row):
    kind, shape, format = row["name"].split("/")
    return f"{kind} | {rows.SHAPES[shape]} {format}"


def pair_tables(measured):
    for kind, title in (("decode", "Decode of 128 tokens; @: after so many others"), ("prompt", "Prompt of 512 tokens, or as many as @ says")):
        chosen = [r for r in measured if r["kind"] == kind]
        if not chosen:
            continue
        last = "reads" if kind == "decode" else "Gop/s"
        yield ""
        yield f"{title}:"
        yield ""
        yield f"| | model | tmodel tok/s | llama.cpp tok/s | ratio (least to most) | target | {last} |"
        yield "|---|---|---|---|---|---|---|"
        for r in chosen:
            work = of_bandwidth(r) if kind == "decode" else f"{statistics.median(r['ours']) * r['ops_per_token'] / 1e9:.0f}"
            yield (f"| {label(r)} | {rate(r['ours'])} | {rate(r['theirs'])}{' (FA)' if r['flash'] else ''} | {spread(ratios(r))} | "
                   f"{target(r['target'])} | {work} |")


def group_table(measured):
    groups = {f: [r for r in measured if r["name"].startswith("prompt/") and r["format"] == f and r["shape"] != rows.REAL]
              for f in rows.GROUPS}
    groups = {f: members for f, members in groups.items() if members}
    if not groups:
        return
    yield ""
    yield "Prompts of 512, geometric means over the shapes:"
    yield ""
    yield "| | ratio (least to most) | target | shapes |"
    yield "|---|---|---|---|"
    for format, members in groups.items():
        yield (f"| {format} | {spread(group_ratios(members))} | {target(rows.GROUPS[format])} | "
               f"{', '.join(rows.SHAPES[r['shape']] for r in members)} |")


def sessions_table(measured):
    chosen = [r for r in measured if r["kind"] == "sessions"]
    if not chosen:
        return
    yield ""
    yield "| | model | together tok/s | one tok/s | ratio (least to most) | target |"
    yield "|---|---|---|---|---|---|"
    for r in chosen:
        yield f"| {label(r)} | {rate(r['ours'])} | {rate(r['theirs'])} | {spread(ratios(r))} | {target(r['target'])} |"


def heading(results):
    m, t, peer = results["machine"], results["tmodel"], results["llama.cpp"]
    bandwidth = [b for r in results["rows"] for b in r["bandwidth"]]
    yield (f"{m['cpu']} (family {m['family']}, model {m['model']}, stepping {m['stepping']}; {' '.join(m['flags'])}), {m['processors']} "
           f"processors, {results['threads']} threads, Linux {m['kernel']}, {m['date']}, load {m['load']:.1f} at the start.")
    yield f"tmodel {t['commit']}, kernels for {t['isa']}, {t['compiler']}, {t['flags']}."
    yield f"{peer['version']}: {peer['system'].rstrip('| ')}; the better of flash attention (FA) and none."
    yield (f"Read bandwidth {statistics.median(bandwidth):.1f} GB/s ({min(bandwidth):.1f} to {max(bandwidth):.1f}), f32 multiply-adds "
           f"{results['multiply_adds']:.0f} Gop/s; {results['rounds']} interleaved rounds, medians.")


def markdown(results):
    measured = results["rows"]
    return "\n".join([*heading(results), *pair_tables(measured), *group_table(measured), *sessions_table(measured)]) + "\n"


def write(results, folder):
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "table.md").write_text(markdown(results))
    (folder / "roofline.svg").write_text(roofline.svg(results))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    write(json.loads((folder / "results.json").read_text()), folder)
