"""Graphics cards on the PCI bus, whether or not they have a driver."""

from __future__ import annotations

from pathlib import Path

_DEVICES = Path("/sys/bus/pci/devices")
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD"}
_DISPLAY = "0x03"  # the PCI class of display controllers, of which 3D accelerators are one


def installed_cards(devices: Path = _DEVICES) -> list[str]:
    """The vendor of each NVIDIA or AMD card on the PCI bus; empty where the system does not list
    the bus."""
    found = []
    try:
        for device in sorted(devices.iterdir()):
            vendor = _VENDORS.get(_value(device / "vendor"))
            if vendor is not None and _value(device / "class").startswith(_DISPLAY):
                found.append(vendor)
    except OSError:
        return []
    return found


def _value(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
