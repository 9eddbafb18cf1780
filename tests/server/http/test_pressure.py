"""New requests are refused while memory is short; the kernel's figures come from a folder that the test writes."""

from pathlib import Path

import pytest

from aibridge.server.http.pressure import Pressure, shed_first
from tests.server.http.raw import GET, Echo, Stream, connected, served, within

GIB = 1 << 30


class Kernel:
    """A `proc` and a `sys` of our own, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.machine(available=8 * GIB)

    def clock(self) -> float:
        return self.now

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="ascii")

    def machine(self, *, available: int) -> None:
        self.write("proc/meminfo", f"MemTotal: {16 * GIB // 1024} kB\nMemAvailable: {available // 1024} kB\n")

    def group(self, folder: str, *, limit: str, used: int, droppable: int = 0) -> None:
        top = f"sys/fs/cgroup{folder}"
        self.write(f"{top}/memory.max", f"{limit}\n")
        self.write(f"{top}/memory.current", f"{used}\n")
        self.write(f"{top}/memory.stat", f"anon 1\ninactive_file {droppable}\n")

    def group_v1(self, folder: str, *, limit: int, used: int, droppable: int = 0) -> None:
        top = f"sys/fs/cgroup/memory{folder}"
        self.write(f"{top}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{top}/memory.usage_in_bytes", f"{used}\n")
        self.write(f"{top}/memory.stat", f"inactive_file 1\ntotal_inactive_file {droppable}\n")

    def pressure(self) -> Pressure:
        return Pressure(self.clock, self.root)

    def shedding(self) -> bool:
        return self.pressure().shedding


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_a_container_sheds_near_its_limit(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/\n")
    kernel.group("", limit=str(GIB), used=int(0.89 * GIB))
    assert not kernel.shedding()

    kernel.group("", limit=str(GIB), used=int(0.91 * GIB))
    assert kernel.shedding()


def test_page_cache_that_can_be_dropped_does_not_count(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/\n")
    kernel.group("", limit=str(GIB), used=int(0.99 * GIB), droppable=GIB // 2)

    assert not kernel.shedding()


def test_the_limit_of_a_group_around_ours_counts(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/slice/service\n")
    kernel.group("/slice/service", limit="max", used=int(0.95 * GIB))
    assert not kernel.shedding()

    kernel.group("/slice", limit=str(GIB), used=int(0.95 * GIB))
    assert kernel.shedding()


def test_groups_of_version_1_count_too(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "4:memory:/docker/a\n0::/\n")
    kernel.group_v1("", limit=9223372036854771712, used=8 * GIB)
    kernel.group_v1("/docker/a", limit=GIB, used=int(0.95 * GIB), droppable=GIB // 2)
    assert not kernel.shedding()

    kernel.group_v1("/docker/a", limit=GIB, used=int(0.95 * GIB))
    assert kernel.shedding()


def test_a_machine_without_memory_sheds(kernel: Kernel) -> None:
    kernel.machine(available=16 * GIB // 100)

    assert kernel.shedding()


def test_it_stops_only_when_there_is_clearly_room_again(kernel: Kernel) -> None:
    kernel.write("proc/self/cgroup", "0::/\n")
    kernel.group("", limit=str(GIB), used=int(0.95 * GIB))
    pressure = kernel.pressure()
    seen = []
    for share in (0.95, 0.88, 0.86, 0.84, 0.88, 0.91):
        kernel.group("", limit=str(GIB), used=int(share * GIB))
        seen.append(pressure.shedding)
        kernel.now += 1

    assert seen == [True, True, True, False, False, True]


def test_the_kernel_is_asked_once_a_second(kernel: Kernel) -> None:
    pressure = kernel.pressure()
    assert not pressure.shedding
    kernel.machine(available=0)
    kernel.now = 0.9
    assert not pressure.shedding
    kernel.now = 1.0
    assert pressure.shedding


@pytest.mark.parametrize("text", ["", "nonsense", "MemTotal: 0 kB\nMemAvailable: 0 kB\n"])
def test_figures_that_cannot_be_read_shed_nothing(kernel: Kernel, text: str) -> None:
    kernel.write("proc/meminfo", text)
    kernel.write("proc/self/cgroup", "0::/\n")
    kernel.write("sys/fs/cgroup/memory.max", text)

    assert not kernel.shedding()


def test_a_system_without_these_files_sheds_nothing(tmp_path: Path) -> None:
    assert not Pressure(lambda: 0.0, tmp_path / "empty").shedding


@pytest.mark.anyio
async def test_new_requests_get_a_503_and_running_streams_and_probes_go_on(kernel: Kernel) -> None:
    stream = Stream()
    probes = Echo()
    pressure = kernel.pressure()
    async with (
        served(shed_first(stream, pressure)) as server,
        served(shed_first(probes, pressure)) as other,
        connected(server.port) as running,
        connected(server.port) as new,
        connected(other.port) as probe,
    ):
        await running.send(GET)
        await within(stream.asked.wait())
        kernel.machine(available=0)
        kernel.now = 1.0

        await new.send(GET)
        refused = await new.reply()
        await probe.send(GET.replace(b"/x", b"/healthz"))
        assert (await probe.reply()).status == 200
        stream.chunks.put_nowait(b"goes on")
        stream.chunks.put_nowait(None)
        assert (await running.reply()).body == b"goes on"

        kernel.machine(available=8 * GIB)
        kernel.now = 2.0
        await new.send(GET)
        stream.chunks.put_nowait(None)
        assert (await new.reply()).status == 200

    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert b'"overloaded_error"' in refused.body
