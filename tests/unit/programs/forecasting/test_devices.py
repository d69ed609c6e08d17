"""The table of devices is plausible, has sources, and finds devices by name."""

from __future__ import annotations

import pytest

from sightweave.core.errors import BackendError
from sightweave.programs.forecasting import devices
from sightweave.programs.forecasting.devices import DEVICES, device


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_each_device_has_plausible_figures_and_its_vendors_page(name: str) -> None:
    one = DEVICES[name]
    assert 50 <= one.tflops <= 5000
    assert 8 <= one.memory_gb <= 300
    assert 50 <= one.watts <= 1500
    assert one.network_gbs <= one.link_gbs <= one.bandwidth_gbs
    vendor = "amd.com" if one.title.startswith("AMD") else "nvidia.com"
    assert one.source.startswith("https://")
    assert vendor in one.source


def test_names_do_not_depend_on_case_or_hyphens() -> None:
    assert device("H100") is device("h100") is DEVICES["h100"]
    assert device("A100-40GB") is DEVICES["a100_40gb"]
    with pytest.raises(BackendError, match=r"device 'h1000' is not in the table.*Did you mean 'h100'"):
        device("h1000")


def test_an_operator_takes_the_longest_of_computing_moving_and_issuing() -> None:
    one = device("h100")
    assert one.seconds(0, 0) == devices.LAUNCH_SECONDS
    assert one.seconds(10**12, 0) == pytest.approx(1 / (989 * devices.MATMUL_SHARE))
    assert one.seconds(10**12, 10**12) == pytest.approx(1000 / (3350 * devices.BANDWIDTH_SHARE))


def test_the_slowest_link_counts() -> None:
    one = device("h100")
    assert one.link(8) == pytest.approx(450e9 * devices.LINK_SHARE)
    assert one.link(16) == pytest.approx(50e9 * devices.LINK_SHARE)
    assert one.usable_bytes < one.bytes == 80 * 10**9
