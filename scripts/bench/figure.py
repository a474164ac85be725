"""The figure: env steps a second and compile time, by population and device."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = {"esrun": "#0072b2", "evosax": "#d55e00"}
STYLES = ["o-", "s--"]
"""Of the kinds of device, JAX's first choice first."""


def draw(rows: list[dict], file: Path) -> None:
    """Draw the rows of the case `throughput`."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    run, compiling = figure.subplots(1, 2)
    compared = [row for row in rows if row["side"] in COLORS]
    kinds = list(dict.fromkeys(row["device"] for row in compared))
    for (side, color), (kind, style) in (
        (x, y) for x in COLORS.items() for y in zip(kinds, STYLES, strict=False)
    ):
        own = [row for row in compared if (row["side"], row["device"]) == (side, kind)]
        members = [row["members"] for row in own]
        for axes, column in ((run, "env steps/s"), (compiling, "compile s")):
            label = f"{side}, {kind_of(own)}"
            axes.plot(members, [row[column] for row in own], style, color=color, label=label)
    for row in rows:
        if row["side"] not in COLORS:
            run.axhline(row["env steps/s"], color="0.4", ls=":", label=f"{row['side']}, one core")
    ticks = sorted({row["members"] for row in compared})
    for axes, what in ((run, "environment steps per second"), (compiling, "seconds to compile")):
        axes.set(xscale="log", xlabel="population size", ylabel=what)
        axes.set_xticks(ticks, [f"{p:,}" for p in ticks], rotation=45)
        axes.xaxis.minorticks_off()
        axes.grid(alpha=0.3)
    run.set_yscale("log")
    compiling.set_ylim(bottom=0)
    run.legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"Pendulum-v1, OpenAI-ES, {compared[0]['episodes']} episodes a member", fontsize=10
    )
    figure.savefig(file, dpi=150)


def kind_of(rows: list[dict]) -> str:
    """-> the devices of some rows in words: 2 CPU devices, NVIDIA H200."""
    if not rows:
        return ""
    platform, name = rows[0]["device"].split(maxsplit=1)
    count = max(row["devices"] for row in rows)
    if platform.startswith("cpu"):
        return f"{count} CPU device{'s' * (count > 1)}"
    return name if count == 1 else f"{count} × {name}"
