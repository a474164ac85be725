"""`esrun explain [KEY=VALUE ...]`: what a run will cost, before anything is compiled and without a
run folder.

Every figure is read off shapes and traces of the program itself, so it holds for any strategy, task
and plug-in.
"""

import json
from typing import Any

from esrun.commands.flags import parsers
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.config.loader import Source
from esrun.errors import DONE, ConfigError
from esrun.runs.opening import built, names_in


def explain(arguments: list[str]) -> int:
    """Print what a run would cost -> the exit code."""
    parsed = parsers()["explain"].read(arguments)
    if parsed.multirun:
        raise ConfigError("esrun explain takes one configuration, not a sweep: leave out -m")
    source = Source(parsed.config_name or "esrun", parsed.config_dir, parsed.config_path)
    try:
        one = composed(parsed.overrides, source)
    except ConfigError as error:  # what training says of a sweep is no advice here
        if "esrun -m" not in str(error):
            raise
        given = str(error).partition(":")[0]
        raise ConfigError(f"{given}, and esrun explain takes one configuration") from error
    config = checked(one.config)
    run, names = built(config), names_in(config, one.hydra.runtime.choices)
    from esrun.runs.costs import costs
    from esrun.runs.origin import origin

    begins = origin(run)
    cost = costs(run, names) | {"start": begins and begins.about}
    if parsed.json:
        print(json.dumps(cost, indent=2))
    else:
        show(cost)
    return DONE


def show(cost: dict[str, Any]) -> None:
    """Print the figures as a panel, the warnings below it."""
    from rich.console import Console
    from rich.panel import Panel

    from esrun.backend.memory import shown
    from esrun.runs.console import figures
    from esrun.runs.far_costs import in_words

    episodes, held_out = cost["episodes_per_member"], cost["held_out"]
    devices, slices = len(cost["devices"]), cost["slices"]

    def steps(count):
        return (
            "env steps known only when it runs" if count is None else f"up to {count:,} env steps"
        )

    rows = {"task": f"{cost['task']}, {episodes} episode{'s' * (episodes > 1)} a member"}
    rows["policy"] = f"{cost['policy']}, {cost['num_params']:,} parameters"
    for layer in cost["layers"] if len(cost["layers"]) > 1 else []:
        shapes = ", ".join(
            f"{key} {' x '.join(map(str, shape))}" for key, shape in layer["shapes"].items()
        )
        rows[f"  {layer['name']}"] = f"{layer['num_params']:,}: {shapes}"
    kept = f"{cost['checkpoints']} checkpoints of {shown(cost['checkpoint_bytes'])}"
    pieces = "at once" if slices == 1 else f"in {slices} slices of {cost['members_per_slice']}"
    p = cost["population_size"]
    whole, part = shown(cost["population_bytes_per_device"]), shown(cost["slice_bytes"])
    if cost["start"]:
        rows["  begins at"] = cost["start"]
    rows["strategy"] = f"{cost['strategy']}, {cost['population_size']:,} members"
    if cost["constants"]:
        held = [f"{name} {x:.4g}" for name, x in cost["constants"].items()]
        rows["  constants"] = ", ".join(held)
    rows |= {
        "state": f"{shown(cost['state_bytes'])}; {kept}",
        "population": f"{whole} a device, {part} {pieces}",
        "a generation": f"{p:,} evaluations, {steps(cost['env_steps_per_generation'])}",
        "all": (
            f"{cost['generations']:,} generations, {cost['evaluations']:,} evaluations, "
            f"{steps(cost['env_steps'])}"
        ),
        "held-out": (
            f"{held_out['evaluations']:,} x {held_out['episodes']:,} episodes, "
            f"{steps(held_out['env_steps'])}"
        ),
        "devices": f"{devices} ({cost['device_kind']}), {cost['precision']}",
        "memory": f"at least {shown(cost['least_memory_bytes'])}, "
        f"{shown(cost['free_memory_bytes']) if cost['free_memory_bytes'] else '?'} free",
    }
    if cost["workers"]:
        rows["workers"] = in_words(cost["workers"])
    console = Console(highlight=False)
    console.print(Panel(figures(rows), title="esrun explain", title_align="left", expand=False))
    if cost["hopeless"]:
        console.print(f"hopeless: {cost['hopeless']}", markup=False, soft_wrap=True)
    for line in cost["warnings"]:
        console.print(f"warning: {line}", markup=False, soft_wrap=True)
