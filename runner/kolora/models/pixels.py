"""Pictures and the pixel tensors that the VAE takes and gives."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image


def to_pixels(picture: Image.Image) -> torch.Tensor:
    """Turn a picture into pixels (1, 3, H, W), float32 in -1..1."""
    levels = np.asarray(picture.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(levels / 127.5 - 1.0).permute(2, 0, 1)[None]


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """Turn pixels (1, 3, H, W) of about -1..1 into an 8-bit RGB picture."""
    levels = ((pixels[0].float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
