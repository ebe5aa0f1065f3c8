"""Examples as small PNG pictures inside of a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Longest side in pixels, and colours: 24 coloured pictures of this size take some 70 kB.
LONGEST = 48
COLOURS = 64
_SHORTEST = 4
_CHANNELS = (1, 3)


def is_picture(shape: tuple[int, ...]) -> bool:
    """Tell whether an example of this shape can be looked at: (H, W), (H, W, 1) or (H, W, 3), at least 4 × 4.

    Example:
        >>> is_picture((28, 28, 1)), is_picture((28, 28, 4)), is_picture((20,))
        (True, False, False)
    """
    flat = len(shape) == 2 or (len(shape) == 3 and shape[2] in _CHANNELS)
    return flat and min(shape[:2]) >= _SHORTEST


def as_bytes(examples: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Give pixels as bytes, their range told by all examples together.

    Args:
        examples: (n, H, W), (n, H, W, 1) or (n, H, W, 3) with values in 0…1, in -1…1 or in 0…255.

    Returns:
        The same shape in 0…255; None where the values lie in no such range.
    """
    if not examples.size or not np.isfinite(examples).all():
        return None
    values = examples.astype(np.float64)
    low, high = values.min(), values.max()
    if low >= 0 and high <= 1:
        values = 255 * values
    elif low >= -1 and high <= 1:
        values = 127.5 * (values + 1)
    elif low < 0 or high > 255:
        return None
    pixels: NDArray[np.uint8] = np.rint(values).astype(np.uint8)
    return pixels


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Give a picture as a `data:` URI, no longer than 48 pixels and, where it is coloured, of 64 colours.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3).
    """
    from PIL import Image

    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 and pixels.ndim == 3 else pixels)
    picture.thumbnail((LONGEST, LONGEST))  # keeps what is smaller as it is
    if picture.mode == "RGB":
        picture = picture.quantize(COLOURS)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
