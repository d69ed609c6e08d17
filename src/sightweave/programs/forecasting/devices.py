"""A table of common accelerators with their vendors' specifications; none of the figures were measured here."""

from __future__ import annotations

from dataclasses import dataclass

from sightweave.core.errors import BackendError, did_you_mean

GIB = 1 << 30
MATMUL_SHARE = 0.6
"""Assumed throughput of matrix products in a training step, as a fraction of the peak."""
BANDWIDTH_SHARE = 0.75
"""Assumed throughput of all other operators, as a fraction of the memory bandwidth."""
LINK_SHARE = 0.75
"""Assumed throughput of collective operations, as a fraction of the bandwidth between devices."""
LAUNCH_SECONDS = 6e-6
"""Assumed minimum time of an operator, in seconds: the time to launch it from Python."""
USABLE = 0.92
"""Fraction of a device's memory that a step may use; the rest is for the driver, libraries and fragmentation."""
NODE = 8
"""Number of devices in one machine, which are connected by the faster links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One accelerator."""

    name: str
    title: str
    tflops: float
    """Peak throughput of dense bf16 matrix products with fp32 accumulation, in 10^12 operations per second."""
    memory_gb: float
    """Memory in GB (10^9 bytes)."""
    bandwidth_gbs: float
    """Memory bandwidth in GB/s."""
    watts: float
    """Maximum power in watts; a step is assumed to draw this power."""
    link_gbs: float
    """Bandwidth to the other devices of the same machine in GB/s, in one direction."""
    network_gbs: float
    """Bandwidth per device to other machines in GB/s, in one direction, as in the vendor's own system."""
    source: str
    """Address of the vendor's page or data sheet."""

    @property
    def bytes(self) -> int:
        """Memory in bytes."""
        return int(self.memory_gb * 1e9)

    @property
    def usable_bytes(self) -> int:
        """Memory that a step may use, in bytes."""
        return int(USABLE * self.bytes)

    @property
    def flops(self) -> float:
        """Peak number of operations per second."""
        return self.tflops * 1e12

    def seconds(self, flops: int, bytes_moved: int) -> float:
        """Time of one operator in seconds: the longest of the times for computing, moving data, and launching."""
        computing = flops / (MATMUL_SHARE * self.flops)
        moving = bytes_moved / (BANDWIDTH_SHARE * self.bandwidth_gbs * 1e9)
        return max(computing, moving, LAUNCH_SECONDS)

    def link(self, count: int) -> float:
        """Number of bytes per second that a device exchanges in a group of `count` devices, over the slowest link."""
        slowest = self.link_gbs if count <= NODE else min(self.link_gbs, self.network_gbs)
        return LINK_SHARE * slowest * 1e9


_NVIDIA = "https://www.nvidia.com/en-us/data-center"
_ADA = "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf"
_GA102 = "https://www.nvidia.com/content/PDF/nvidia-ampere-ga-102-gpu-architecture-whitepaper-v2.pdf"
_MI300X = "https://www.amd.com/en/products/accelerators/instinct/mi300/mi300x.html"

_TABLE = """
b200       | NVIDIA B200 (SXM)       | 2250  | 180 | 8000 | 1000 | 900 | 50   | {nvidia}/dgx-b200/
h200       | NVIDIA H200 (SXM)       | 989   | 141 | 4800 | 700  | 450 | 50   | {nvidia}/h200/
h100       | NVIDIA H100 80GB (SXM)  | 989   | 80  | 3350 | 700  | 450 | 50   | {nvidia}/h100/
h100_pcie  | NVIDIA H100 80GB (PCIe) | 756   | 80  | 2000 | 350  | 64  | 25   | {nvidia}/h100/
a100       | NVIDIA A100 80GB (SXM)  | 312   | 80  | 2039 | 400  | 300 | 25   | {nvidia}/a100/
a100_40gb  | NVIDIA A100 40GB (SXM)  | 312   | 40  | 1555 | 400  | 300 | 25   | {nvidia}/a100/
l40s       | NVIDIA L40S             | 362   | 48  | 864  | 350  | 32  | 12.5 | {nvidia}/l40s/
l4         | NVIDIA L4               | 121   | 24  | 300  | 72   | 32  | 12.5 | {nvidia}/l4/
a10        | NVIDIA A10              | 125   | 24  | 600  | 150  | 32  | 12.5 | {nvidia}/products/a10-gpu/
rtx4090    | NVIDIA GeForce RTX 4090 | 165.2 | 24  | 1008 | 450  | 32  | 1.25 | {ada}
rtx3090    | NVIDIA GeForce RTX 3090 | 71    | 24  | 936  | 350  | 32  | 1.25 | {ga102}
mi300x     | AMD Instinct MI300X     | 1307  | 192 | 5300 | 750  | 448 | 50   | {mi300x}
"""
"""Name, title, dense bf16 TFLOP/s, memory (GB), memory bandwidth (GB/s), power (W), bandwidth within a machine and
between machines (GB/s), and source. Where a vendor states bf16 throughput with sparsity, the table has half of it."""


def _read() -> dict[str, Device]:
    found = {}
    addresses = {"nvidia": _NVIDIA, "ada": _ADA, "ga102": _GA102, "mi300x": _MI300X}
    for line in _TABLE.strip().splitlines():
        name, title, *numbers, source = [cell.strip() for cell in line.split("|")]
        tflops, memory, bandwidth, watts, link, network = map(float, numbers)
        found[name] = Device(
            name=name,
            title=title,
            tflops=tflops,
            memory_gb=memory,
            bandwidth_gbs=bandwidth,
            watts=watts,
            link_gbs=link,
            network_gbs=network,
            source=source.format(**addresses),
        )
    return found


DEVICES = _read()
"""The devices, by name."""


def device(name: str) -> Device:
    """Returns the device with this name; case, spaces and hyphens do not matter.

    Raises:
        BackendError: the device is not in the table.
    """
    key = name.lower().replace("-", "_").replace(" ", "_")
    if key not in DEVICES:
        raise BackendError(f"device {name!r} is not in the table of devices. {did_you_mean(key, DEVICES)}")
    return DEVICES[key]
