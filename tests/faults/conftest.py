# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""One machine with faults, and what is pushed to and installed from, for all tests of this directory."""

import shutil
import tempfile
from pathlib import Path

import pytest

from faults.harness import Harness
from faults.machine import Machine, compile_shim


@pytest.fixture(scope="package")
def harness():
    # in memory where there is room: it is about order, not about disks
    directory = Path(tempfile.mkdtemp(prefix="faults-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    shim = compile_shim(directory)
    if shim is None:
        pytest.skip("needs gcc, and Linux")
    machine = Machine(shim, directory)
    try:
        yield Harness(machine, directory)
    finally:
        machine.close()
        shutil.rmtree(directory, ignore_errors=True)
