"""What a run does when a device has run out of memory in spite of the plan: it goes on smaller."""

from esrun.training.build import Run, build
from esrun.training.slices import plan_blocks


def with_less_memory(run: Run) -> tuple[Run, str]:
    """-> (the same run with half the episodes at a time, or else half the population chunk; what to
    say of it). Raises MemoryError when there is nothing left to halve."""
    config, parts, plan = run.config, run.parts, run.program.plan()
    played = getattr(config.task, "episodes_at_once", 1)
    if played == "auto":
        played = (plan and plan.episodes) or parts.task.episodes
    played = min(played, parts.task.episodes)
    if played > 1:
        task = config.task.model_copy(update={"episodes_at_once": played // 2})
        line = _line(f"{played} episodes", f"task.episodes_at_once={played // 2}")
        return build(config.model_copy(update={"task": task})), line
    blocks = plan_blocks(parts, run.local_devices, config.runtime.population_chunk)
    members = (plan.blocks if plan else blocks).size
    if members <= parts.strategy.unit:
        raise MemoryError(
            "the device has no room for one member: make task.episodes or policy.hidden smaller"
        )
    runtime = config.runtime.model_copy(update={"population_chunk": members // 2})
    line = _line(f"{members} members", f"runtime.population_chunk={members // 2}")
    return build(config.model_copy(update={"runtime": runtime})), line


def _line(much: str, remedy: str) -> str:
    return f"out of memory with {much} at a time: going on with {remedy}"
