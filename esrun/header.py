"""What a safetensors file says besides its tensors: under one key, as JSON with sorted keys.

The library orders several keys at random, so that equal files would differ from process to process.
"""

import json
from typing import Any

from esrun import files

KEY = "esrun"
VERSION = 3
LARGEST = 2**32
"""Bytes that the file of a policy may have; no room is taken for more than it has."""


def header(kind: str, about: dict[str, Any]) -> dict[str, str]:
    """-> the metadata of a file of a kind ("policy", "checkpoint")."""
    content = {"format": f"esrun {kind} {VERSION}", **about}
    return {KEY: json.dumps(files.plain(content), sort_keys=True)}


def read_header(content: bytes, kind: str) -> dict[str, Any]:
    """-> what `header` was given and the format, of a file's content of this or an earlier version.

    Raises ValueError, KeyError, TypeError or RecursionError for anything else.
    """
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    about = {key: x if key == "format" else json.loads(x) for key, x in metadata.items()}
    about = about.get(KEY, about)
    # version 1 had a key for each, and a policy's format in JSON too
    known = [f"esrun {kind} {version}" for version in range(1, VERSION + 1)]
    if str(about["format"]).strip('"') not in known:
        raise ValueError(f"it is of the format {str(about['format'])[:40]!r}")
    return about
