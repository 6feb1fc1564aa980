"""Graphics cards that are plugged in, whether or not a driver speaks for them."""

from __future__ import annotations

from pathlib import Path

_DEVICES = Path("/sys/bus/pci/devices")
_MAKERS = {"0x10de": "NVIDIA", "0x1002": "AMD"}
_DISPLAY = "0x03"  # the PCI class of display controllers, of which 3D accelerators are one


def plugged_in(devices: Path = _DEVICES) -> list[str]:
    """The maker of each card on the PCI bus, NVIDIA's and AMD's only; empty where the system
    does not list them."""
    found = []
    try:
        for device in sorted(devices.iterdir()):
            maker = _MAKERS.get(_word(device / "vendor"))
            if maker is not None and _word(device / "class").startswith(_DISPLAY):
                found.append(maker)
    except OSError:
        return []
    return found


def _word(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
