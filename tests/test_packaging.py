"""The package as it is shipped."""

from __future__ import annotations

import ast
import email
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from places import ROOT

import icl_curriculum

PACKAGE = ROOT / "icl_curriculum"


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("icl_curriculum", "experiments", "pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    (source / "results").mkdir()
    (source / "results/leaderboard.csv").symlink_to(ROOT / "results/leaderboard.csv")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_holds_every_module_every_stub_and_every_experiment(wheel: zipfile.ZipFile) -> None:
    modules = {str(path.relative_to(ROOT)) for pattern in ("*.py", "*.pyi") for path in PACKAGE.rglob(pattern)}
    experiments = {f"icl_curriculum/experiments/{path.name}" for path in (ROOT / "experiments").glob("*.toml")}
    benchmark = {
        "icl_curriculum/leaderboard/leaderboard.csv",
        "icl_curriculum/results/scorecard/icl-curriculum-v1.json",
    }
    assert modules | experiments | benchmark | {"icl_curriculum/py.typed"} <= set(wheel.namelist())
    # Of the results, nothing but the leaderboard.
    assert {name for name in wheel.namelist() if name.startswith("icl_curriculum/leaderboard/")} <= benchmark


def test_the_wheel_says_who_made_it_and_under_which_licence(wheel: zipfile.ZipFile) -> None:
    (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    licence = (ROOT / "LICENSE").read_text()
    assert wheel.read(f"{folder}/licenses/LICENSE").decode() == licence
    metadata = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))
    assert metadata["License-Expression"] == "MIT" == licence.split()[0]
    assert metadata["Author"] == "the icl_curriculum authors"
    assert f"Copyright (c) 2026 {metadata['Author']}\n" in licence
    assert metadata["Version"] == icl_curriculum.__version__


def test_the_citation_names_the_project_as_it_is_shipped() -> None:
    """Read line by line, as it is so plain that it needs no reader of YAML."""
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    for line in (
        "cff-version: 1.2.0",
        f"version: {icl_curriculum.__version__}",
        f"license: {PROJECT['license']}",
        *(f"  - name: {author['name']}" for author in PROJECT["authors"]),
        *(f"  - {keyword}" for keyword in PROJECT["keywords"]),
    ):
        assert line in lines


def test_dir_shows_the_public_names_and_nothing_else() -> None:
    named = {node.asname for node in ast.walk(ast.parse((PACKAGE / "__init__.pyi").read_text()))
             if isinstance(node, ast.alias)}  # fmt: skip
    assert dir(icl_curriculum) == sorted(named)
    assert sorted(icl_curriculum.__all__) == dir(icl_curriculum)
    for name in named:
        assert getattr(icl_curriculum, name) is not None
    with pytest.raises(AttributeError, match="No icl_curriculum attribute trian"):
        _ = icl_curriculum.trian


USERS_FILE = """
from pathlib import Path

import torch

import icl_curriculum
from icl_curriculum import FunctionClass, register_function_class


@register_function_class("mine")
class Mine(FunctionClass):
    scale: float = 2.0

    def sample(self, n: int, dims: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"w": torch.randn(n, dims, generator=generator)}

    def evaluate(self, parameters: dict[str, torch.Tensor], xs: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.einsum("nd,nkd->nk", parameters["w"], xs)

    def trivial_error(self, dims: int) -> float:
        return self.scale**2 * dims


folder: Path = icl_curriculum.run("smoke", seeds=[0]) / "mixed-seed0"
icl_curriculum.run(3)
"""


def test_a_users_type_checker_sees_the_types_of_all_public_names(tmp_path: Path) -> None:
    asked = [f"reveal_type(icl_curriculum.{name})\n" for name in dir(icl_curriculum)]
    (tmp_path / "mine.py").write_text(USERS_FILE + "".join(asked))
    # In the checkout, where the cache of `make lint` spares mypy reading torch. That py.typed is shipped is held above.
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "mine.py")]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    revealed = [line for line in lines if "Revealed type" in line]
    assert len(revealed) == len(asked)
    assert not [line for line in revealed if '"Any"' in line]
    (mistake,) = [line for line in lines if " error: " in line]
    assert 'Argument 1 to "run" has incompatible type "int"' in mistake


@pytest.mark.parametrize(
    ("code", "traceback"),
    [
        ("from icl_curriculum.__main__ import main; sys.argv[1:] = ['list']; main()", False),
        ("import icl_curriculum; icl_curriculum.UserError", True),
    ],
)
def test_a_platform_that_is_not_supported_is_one_message(code: str, traceback: bool) -> None:
    """Stands for Windows, whose Python lacks the module."""
    windows = "import sys; sys.modules['fcntl'] = None; sys.platform = 'win32'; "
    done = subprocess.run([sys.executable, "-c", windows + code], capture_output=True, text=True, timeout=60)
    message = "icl_curriculum runs on Linux and macOS, and this is win32; on Windows, install it in the Windows Sub"
    assert message in done.stderr.splitlines()[-1]
    assert (done.returncode, "Traceback" in done.stderr) == ((1, True) if traceback else (2, False))


def test_constraints_pin_every_direct_dependency() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["parquet"], *extras["test"], *extras["browser"], *extras["docs"]]
    wanted += extras["ray"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert {requirement.split(">=")[0].lower() for requirement in wanted} <= pinned
    assert "torch==2.13.0" in lines


def test_the_top_level_is_bare() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.split("/")[0] for name in listed.splitlines()}
    files = {"pyproject.toml", "README.md", "Makefile", "constraints.txt", ".gitignore", "LICENSE", "CITATION.cff"}
    assert top <= files | {"icl_curriculum", "experiments", "results", "tests", "docs", ".ci"}


def test_browser_r_and_clusters_are_left_to_targets_of_their_own() -> None:
    """`make test` needs no Chromium, R, SLURM or Ray, and says nothing of the tests that do; CI runs all of them."""
    from conftest import collect_ignore

    assert collect_ignore == ["browser", "readers", "cluster"]
    assert {"make test-browser", "make test-readers", "make test-cluster"} <= {
        *(ROOT / ".ci/run").read_text().splitlines()
    }


def test_without_slurm_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    script = ROOT / "tests/cluster/slurm_cluster.py"
    # Those in /usr/sbin would be found as well.
    for name in ("munged", "slurmctld", "slurmd"):
        (tmp_path / name).touch(mode=0o755)
    done = subprocess.run([sys.executable, script], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    said = "no sbatch on PATH; on Debian and Ubuntu: apt-get install slurmctld slurmd slurm-client munge\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    (tmp_path / "sbatch").touch(mode=0o755)
    done = subprocess.run([sys.executable, script], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_chromium_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    script = ROOT / "tests/browser/chromium.py"
    for variables, said in (
        ({"PATH": str(tmp_path)}, "no Chromium on PATH (chromium, chromium-browser, google-chrome)"),
        ({"PATH": str(tmp_path), "CHROMIUM": "nowhere"}, "CHROMIUM=nowhere is no program"),
    ):
        done = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(said)
        assert "apt-get install chromium" in line
    (tmp_path / "chromium-browser").touch(mode=0o755)
    done = subprocess.run([sys.executable, script], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
