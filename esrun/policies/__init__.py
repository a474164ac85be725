"""Policies: one haiku architecture a file."""

from esrun.backend.deferred import deferred

# haiku imports flax for a bridge to it that nothing here crosses
with deferred("haiku.experimental.flax"):
    import haiku as haiku
