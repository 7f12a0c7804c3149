"""The import contracts hold, and each bites on a planted breach."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings.env import BASE_DIR
from tests.architecture.rules import PACKAGES

PLANTS = [
    ("audit/canonical.py", "import governance.errors", "never back"),
    ("audit/canonical.py", "import gateway.errors", "never back"),
    ("governance/errors.py", "import training.errors", "never back"),
    ("training/errors.py", "import gateway.errors", "never back"),
    ("governance/errors.py", "from rest_framework import status", "speaks HTTP"),
    ("audit/errors.py", "import drf_spectacular", "speaks HTTP"),
    ("gateway/errors.py", "import torch", "tensors"),
    ("governance/errors.py", "def late() -> None:\n    import opacus", "tensors"),
    ("training/errors.py", "import presidio_analyzer", "recognizes people"),
    ("audit/verify.py", "import django.conf", "The verifier runs"),
    ("audit/canonical.py", "from django.utils import timezone", "The verifier runs"),
]


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    # By its module: the console script would put .venv/bin first on the path, not the copy.
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=tree, env={"PYTHONPATH": str(tree), "PATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the four packages and of the contracts."""
    shutil.copy(BASE_DIR / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(
            BASE_DIR / package,
            tmp_path / package,
            ignore=lambda folder, names: {
                name
                for name in names
                if not name.endswith(".py") and not (Path(folder) / name).is_dir()
            },
        )
    return tmp_path


def test_contracts_hold(tree: Path) -> None:
    result = _lint(tree)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [pytest.param(*plant, id=f"{plant[0]}: {plant[1]}") for plant in PLANTS],
)
def test_contract_bites(tree: Path, module: str, line: str, contract: str) -> None:
    with (tree / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = _lint(tree)
    assert result.returncode == 1, result.stdout + result.stderr
    broken = [text for text in result.stdout.splitlines() if text.endswith("BROKEN")]
    assert any(contract in text for text in broken), result.stdout
