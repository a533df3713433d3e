"""Wheel and sdist hold what they should, and work from another folder in an environment of their own."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small import TINY

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def tracked(*folders: str) -> set[str]:
    """The files of the repository below these folders; a copy without its history: those on disk."""
    try:
        found = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        names = found.stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = [p.relative_to(ROOT).as_posix() for folder in folders for p in (ROOT / folder).rglob("*")]
    return {name for name in names if (ROOT / name).is_file() and "__pycache__" not in name}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel that was built from an sdist that was built from the repository."""
    pytest.importorskip("build", reason="needs the extra dmdlab[dist]")
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel and, by a path file, our packages, but not our dmdlab."""
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin"


def called(installed: Path, folder: Path, *words: str) -> str:
    done = subprocess.run([str(installed / "dmdlab"), *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == tracked("dmdlab")
    assert {Path(name).suffix for name in names} >= {".py", ".toml", ".html", ".css", ".js"}


def test_the_sdist_has_what_tests_and_docs_need(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = tracked(
        "dmdlab", "tests", "docs", "experiments", "figures", "benchmarks", "README.md", "Makefile", "LICENSE"
    )
    assert wanted - names == set()
    assert not any("_build" in name for name in names)


def test_it_is_the_wheels_own_package_that_runs(installed: Path, tmp_path: Path) -> None:
    code = "import dmdlab; print(dmdlab.__file__)"
    done = subprocess.run([str(installed / "python"), "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert str(installed.parent) in done.stdout


def test_it_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    """Presets, the paper's experiments, templates, styles and scripts are in it."""
    assert "sweep" in called(installed, tmp_path, "--help")
    assert "RUNS" in called(installed, tmp_path, "explore", "--help")
    assert "Record:" in called(installed, tmp_path, "run", "--preset", "smoke", *TINY, "law.dim=2")
    assert "6 runs" in called(installed, tmp_path, "reproduce", "fig2", "--dry-run")
    called(installed, tmp_path, "explore", "runs/single", "--out", "explorer.html")
    assert "<script" in (tmp_path / "explorer.html").read_text(encoding="utf-8")
    teacher, student, reference = np.random.default_rng(0).normal(size=(3, 60, 4))
    np.savez(tmp_path / "pairs.npz", teacher=teacher, student=student, reference=reference)
    called(installed, tmp_path, "measure", "pairs.npz", "--report", "report.html")
    assert "<style" in (tmp_path / "report.html").read_text(encoding="utf-8")
