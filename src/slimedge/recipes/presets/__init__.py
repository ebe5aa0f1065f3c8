"""Recipes that come with slimedge, for any classifier: they name stages and exports, and no model or data."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def presets() -> tuple[str, ...]:
    """Give the names of the presets.

    Example:
        >>> presets()
        ('accuracy', 'balanced', 'mcu', 'tiny')
    """
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def preset_path(name: str) -> Path:
    """Give the file of a preset, to read or to copy."""
    return FOLDER / f"{name}.yaml"
