"""The figure: env steps a second by population."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = {"esrun": "#0072b2", "evosax": "#d55e00"}


def draw(rows: list[dict], device: str, file: Path) -> None:
    """Draw the rows of the case `throughput`."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for side, color in COLORS.items():
        own = [row for row in rows if row["side"] == side]
        axes.plot(
            [row["members"] for row in own],
            [row["env steps/s"] for row in own],
            "o-",
            color=color,
            label=side,
        )
    axes.set(
        xscale="log", yscale="log", xlabel="population size", ylabel="environment steps per second"
    )
    ticks = sorted({row["members"] for row in rows})
    axes.set_xticks(ticks, [f"{p:,}" for p in ticks], rotation=45)
    axes.xaxis.minorticks_off()
    axes.set_title(
        f"Pendulum-v1, OpenAI-ES, {rows[0]['episodes']} episodes a member, on {device}", fontsize=10
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)
