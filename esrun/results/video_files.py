"""Films as files: GIF by Pillow, MP4 by ffmpeg; still pictures as PNG."""

import io
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from esrun import files


def write(path: Path, frames: Iterable[np.ndarray], milliseconds: int) -> None:
    """Write frames [height, width, 3], all of one size, each shown for so long. A file of that name
    is replaced when the new one is whole. Raises OSError."""
    encode = {".mp4": mp4, ".png": png}.get(path.suffix.lower(), gif)
    files.write(path, encode(frames, milliseconds))


def png(frames: Iterable[np.ndarray], milliseconds: int) -> bytes:
    """-> the one frame as a PNG."""
    del milliseconds
    (picture,), content = frames, io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()


def gif(frames: Iterable[np.ndarray], milliseconds: int) -> bytes:
    """-> a GIF that begins again at its end; it lingers on the last frame."""
    pictures = [
        Image.fromarray(frame).quantize(method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        for frame in frames
    ]
    times = [milliseconds] * (len(pictures) - 1) + [max(1500, milliseconds)]
    content = io.BytesIO()
    pictures[0].save(
        content,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=times if len(pictures) > 1 else times[0],
        loop=0,
    )
    return content.getvalue()


def mp4(frames: Iterable[np.ndarray], milliseconds: int) -> bytes:
    """-> an MP4 (H.264, which wants even sides)."""
    import imageio_ffmpeg  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # JAX warns of every fork; nothing of it runs between this one and ffmpeg's start
        warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
        path, writer = Path(folder) / "film.mp4", None
        rate: Any = 1000 / milliseconds
        for frame in frames:
            even = np.pad(frame, [(0, n % 2) for n in frame.shape[:2]] + [(0, 0)], "edge")
            if writer is None:
                size = even.shape[1], even.shape[0]
                writer = imageio_ffmpeg.write_frames(
                    path,
                    size,
                    fps=rate,
                    macro_block_size=2,
                    ffmpeg_log_level="error",
                )
                writer.send(None)
            writer.send(np.ascontiguousarray(even))
        if writer is not None:
            writer.close()
        return path.read_bytes()
