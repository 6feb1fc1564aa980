"""Peak arithmetic of devices, for the share of it that a run reaches (MFU).

Dense arithmetic as the vendors state it, in TFLOP/s: without sparsity, with fp32 accumulation.
Sources, by entry: NVIDIA's data sheets of H100/H200 (2023), B200 (HGX, 2024), A100 (2021), L40S,
L4, A10, A30, V100, T4; NVIDIA's Ada (1.1) and Ampere GA102 white papers for GeForce; AMD's data
sheets of MI325X and MI300X. A device that is not listed has no MFU.
"""

from __future__ import annotations

import re

# Pattern of the name; half precision (bf16, or fp16 where a card has no bf16); fp32. The first
# pattern that matches counts.
_PEAKS: tuple[tuple[str, float, float], ...] = (
    (r"\bB200", 2250.0, 75.0),
    (r"H100 NVL", 835.0, 60.0),
    (r"H100 PCIe", 756.5, 51.2),
    (r"H200 NVL", 835.0, 60.0),
    (r"H[12]00|GH200", 989.4, 66.9),
    (r"A100\b", 312.0, 19.5),
    (r"A30\b", 165.0, 10.3),
    (r"A10\b", 125.0, 31.2),
    (r"L40S", 362.0, 91.6),
    (r"L4\b", 121.0, 30.3),
    (r"V100-SXM2", 125.0, 15.7),
    (r"T4\b", 65.0, 8.1),
    (r"RTX 4090\b(?! (D|Laptop))", 165.2, 82.6),
    (r"RTX 3090\b(?! Ti)", 71.0, 35.6),
    (r"MI3(00|25)X", 1307.4, 163.4),
)


def peak_flops(name: str, precision: str) -> float | None:
    """Peak FLOP/s of a device.

    Args:
        name: the device's name as its driver returns it.
        precision: "fp32", "bf16" or "fp16". fp32 is without TF32, which torch leaves off.

    Returns None where the peak is not known, as for a MIG slice.
    """
    if re.search(r"\bMIG\b", name):
        return None
    for pattern, half, full in _PEAKS:
        if re.search(pattern, name):
            return (full if precision == "fp32" else half) * 1e12
    return None
