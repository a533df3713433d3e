"""`dmdlab doctor`: packages that break, facts by simulated machines, advice by facts, exit status."""

import json
import platform
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from dmdlab.cli.machine import app
from dmdlab.device import cgroups, doctor, precision
from dmdlab.device.doctor import Arithmetic, Examination, Finding, Gpu, Hardware, Threads

GIB = 2**30

HEALTHY = Hardware(
    torch_build="CPU build",
    gpus=[],
    device="cpu",
    why="auto takes the CPU.",
    arithmetic=[Arithmetic("float32", "have", "", 1e11), Arithmetic("bf16", "have", "AMX", 1.1e11)],
    auto_precision="float32",
    cpu="a CPU",
    threads=Threads(4, None, cores=8, allowed_cores=4, quota_cores=None, sweep_workers=4, worker_threads=1),
    ram_bytes=8 * GIB,
    ram_available_bytes=6 * GIB,
    ram_limit_bytes=None,
    uncompiled="",
    compiled_in="/home/someone/.cache/dmdlab/compiled",
    unrecorded="",
    commit="none",
)


@pytest.fixture(autouse=True)
def no_gpu_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of the tests has no nvidia-smi, and multiplies at a rate that takes no time to measure."""
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "product_rate", lambda device, precision, seconds: 1e11)


def advised(**changes: Any) -> list[Finding]:
    return list(doctor.advice(replace(HEALTHY, **changes)))


# --- packages


def test_versions_are_those_of_what_is_installed() -> None:
    found = doctor.examine("cpu", 0.0).versions
    assert found["python"] == platform.python_version()
    assert all(found[name] == metadata.version(name) for name in ("torch", "numpy", "scipy", "POT", "lapx"))


def test_a_package_that_cannot_be_imported_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lap", None)
    found = doctor.examine("cpu", 0.0)
    assert not found.usable
    (finding,) = (f for f in found.findings if f.blocks)
    assert finding.text.startswith("lapx cannot be imported (ModuleNotFoundError: import of lap halted")
    assert finding.text.endswith("pip install --force-reinstall lapx.")


def test_without_torch_a_sentence_comes_and_no_traceback() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['dmdlab', 'doctor']; from dmdlab.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dmdlab: torch or numpy cannot be imported (import of torch halted")
    assert len(done.stderr.splitlines()) == 1


# --- the machine


def examined(device: str) -> tuple[Hardware, list[Finding]]:
    found = doctor.examine(device, 0.0)
    return found.machine, found.findings


@pytest.mark.parametrize(
    ("instructions", "bf16"),
    [
        ("amx", Arithmetic("bf16", "have", "AMX", 1e11)),
        ("avx512", Arithmetic("bf16", "have", "AVX512-BF16", 1e11)),
        ("none", Arithmetic("bf16", "emulated", "", None)),
    ],
)
def test_the_facts_are_this_machines(instructions: str, bf16: Arithmetic, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (doctor, precision):
        monkeypatch.setattr(module, "cpu_bf16", lambda: instructions)
    found, findings = examined("cpu")
    assert found.device == "cpu"
    tf32 = Arithmetic("tf32", "lack", "", None)
    assert found.arithmetic == [Arithmetic("float32", "have", "", 1e11), tf32, bf16]
    assert found.auto_precision == "float32"
    assert found.threads.torch == 1  # as `conftest.py` sets it
    assert not any(finding.blocks for finding in findings)


def test_a_device_that_is_not_there_blocks_and_the_rest_is_still_told() -> None:
    found, findings = examined("cuda:99")
    assert found.device is None
    assert found.arithmetic == []
    assert found.why.startswith("--device cuda:99: ")
    assert Finding(found.why, blocks=True) in findings
    assert found.cpu


def test_without_affinity_proc_or_sysconf_it_still_examines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on macOS and on Windows."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "nowhere")
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.delattr("os.sysconf")
    found, _ = examined("cpu")
    assert found.threads.allowed_cores == found.threads.cores
    assert (found.threads.quota_cores, found.ram_bytes, found.ram_limit_bytes) == (None, None, None)


def test_a_gpu_that_cannot_multiply_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(device: object, precision: str, seconds: float) -> float:
        raise RuntimeError("no kernel image is available\nCUDA kernel errors might be asynchronous")

    monkeypatch.setattr(doctor, "product_rate", fails)
    found, findings = examined("cpu")
    assert found.arithmetic[0] == Arithmetic("float32", "fails", "no kernel image is available", None)
    assert Finding("cpu cannot multiply in float32: no kernel image is available.", blocks=True) in findings


# --- advice


def test_a_healthy_machine_needs_no_advice() -> None:
    assert advised() == []
    gpu = Gpu("a GPU", "9.0", 70 * GIB, 80 * GIB)
    assert advised(device="cuda", gpus=[gpu], torch_build="CUDA 12.8") == []


@pytest.mark.parametrize(
    ("threads", "words"),
    [
        ({"omp_num_threads": "16"}, ["OMP_NUM_THREADS is 16", "may use 4 cores", "export OMP_NUM_THREADS=4"]),
        ({"quota_cores": 1.5}, ["the time of 1.5 of 4 cores", "OMP_NUM_THREADS=1"]),
        ({"quota_cores": 0.5}, ["the time of 0.5 of 4 cores", "OMP_NUM_THREADS=1"]),
    ],
)
def test_threads_beyond_what_is_allowed_are_advised_against(threads: dict[str, Any], words: list[str]) -> None:
    (found,) = advised(threads=replace(HEALTHY.threads, **threads))
    assert not found.blocks
    for word in words:
        assert word in found.text


@pytest.mark.parametrize(
    "threads", [{"omp_num_threads": "4"}, {"omp_num_threads": "4,2"}, {"quota_cores": 4.0}, {"quota_cores": 64.0}]
)
def test_threads_within_what_is_allowed_are_not(threads: dict[str, Any]) -> None:
    assert advised(threads=replace(HEALTHY.threads, **threads)) == []


def test_bfloat16_is_recommended_only_where_it_was_measured_to_be_much_faster() -> None:
    def rates(bf16: float | None) -> list[Arithmetic]:
        return [Arithmetic("float32", "have", "", 1e11), Arithmetic("bf16", "have", "AMX", bf16)]

    (found,) = advised(arithmetic=rates(2.5e11))
    assert "2.5 times as fast" in found.text
    assert "network.precision=bf16 trains wide networks faster" in found.text
    assert "narrow ones gain little" in found.text
    assert advised(arithmetic=rates(1.2e11)) == []
    assert advised(arithmetic=rates(None)) == []
    assert advised(device="cuda", arithmetic=rates(9e11)) == []  # there TF32 is the rival


def test_training_that_cannot_be_compiled_is_noticed() -> None:
    (found,) = advised(uncompiled="there is no C++ compiler (g++ or clang++); install one, or name one in CXX")
    assert "cannot be compiled" in found.text
    assert "there is no C++ compiler" in found.text
    assert not found.blocks
    assert advised(uncompiled="") == []


def test_training_that_cannot_be_recorded_is_noticed_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.examine("cpu", 0.0).machine.unrecorded == ""
    monkeypatch.delattr(torch._C, "_create_function_from_graph")
    why = doctor.examine("cpu", 0.0).machine.unrecorded
    assert "_create_function_from_graph" in why
    (found,) = advised(unrecorded=why)
    assert f"cannot be recorded with this torch, so that small networks train slower, to the same results: {why}" in (
        found.text
    )
    assert not found.blocks
    assert advised(unrecorded=why, device="cuda", torch_build="CUDA 12.8") == []


def test_a_cpu_build_beside_a_gpu_and_a_gpu_in_use_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = advised(gpus=[Gpu("one", "9.0", 60 * GIB, 80 * GIB), Gpu("two", "9.0", 2 * GIB, 80 * GIB)])
    assert "cuda:1" in found.text
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    (found,) = advised()
    assert "CPU build" in found.text
    assert advised(torch_build="CUDA 12.8") == []


# --- the command


def call(*words: str, columns: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["doctor", *words])


def shown(found: Examination, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(doctor, "examine", lambda device: found)
    return call()


@pytest.mark.parametrize("columns", [80, 120])
def test_the_report_fits_the_terminal_and_names_what_matters(columns: int) -> None:
    done = call("--device", "cpu", columns=columns)
    assert done.exit_code == 0
    for word in ("torch", metadata.version("torch"), "auto precision", "float32", "cores", "memory", "ready to use"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= columns


def test_a_device_that_is_not_there_ends_with_status_2_after_the_report() -> None:
    done = call("--device", "cuda:99")
    assert done.exit_code == 2
    assert "memory" in done.stdout
    assert "cannot work as asked" in done.stdout
    assert "- --device cuda:99: " in done.stdout


def test_json_holds_facts_and_findings_and_nothing_else_is_on_stdout() -> None:
    done = call("--device", "cuda:99", "--json")
    assert done.exit_code == 2
    found = json.loads(done.stdout)
    assert found["usable"] is False
    assert found["findings"][0]["blocks"] is True
    assert found["machine"]["threads"]["torch"] == torch.get_num_threads()
    assert found["versions"]["torch"] == metadata.version("torch")


def test_a_gpu_machine_is_told_with_its_memory_and_its_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu("NVIDIA H200", "9.0", 137 * GIB, 140 * GIB)
    rates = [Arithmetic("float32", "have", "", 5.2e13), Arithmetic("tf32", "have", "tensor cores", 4.1e14)]
    own = replace(HEALTHY, gpus=[gpu], device="cuda", arithmetic=rates, auto_precision="tf32", torch_build="CUDA 12.8")
    done = shown(Examination("Linux", "python", {"python": "3.11.7", "dmdlab": "0.1.0"}, own, []), monkeypatch)
    assert done.exit_code == 0
    for word in ("NVIDIA H200, 137 GiB of 140 GiB free", "yes (tensor cores)", "410 TFLOP/s", "means tf32 here"):
        assert word in done.stdout
    sharing = "4 processes of 1 thread, so that one trains on the GPU while others measure on the CPU"
    assert sharing in " ".join(done.stdout.split())
    assert done.stdout.rstrip().endswith("dmdlab is ready to use.")
