# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Sizes and times for people. Powers of 1000, as disks, registries and container engines count."""


def format_size(count: float) -> str:
    """Bytes: ``512 B``, ``1.5 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95 if unit != "B" else count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_seconds(seconds: float) -> str:
    """``45s``, ``3m05s``, ``2h07m``."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
