"""Configuration: what may be said, and checking it. JAX is not imported here."""

from pathlib import Path

_PACKAGED = Path(__file__).parent.parent / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"
"""`esrun/conf` in an installed wheel, the top-level `conf` in a checkout."""
