"""The locks install anywhere: no local build, no path, no index; every `.in` is compiled."""

import re
from pathlib import Path

import pytest

from gateway.settings.env import BASE_DIR

FOLDER = BASE_DIR / "requirements"
TEXTS = sorted(FOLDER.glob("*.txt"))
PIN = re.compile(r"^([A-Za-z0-9._-]+)(\[[a-z,-]+\])?==([^\s;\\]+)(\s*;.*?)?(\s*\\)?$")


def faults(text: str, *, hashed: bool = True) -> list[str]:
    """Lines that would not install elsewhere what they install here."""
    found = []
    for line in text.splitlines():
        entry = line.split(" #")[0].strip()
        if not entry or entry.startswith("#"):
            continue
        if entry.startswith("--hash=sha256:"):
            continue
        if entry.startswith("-"):
            found.append(f"option: {entry}")
        elif "://" in entry or "/" in entry or " @ " in entry or entry.startswith("."):
            found.append(f"path or URL: {entry}")
        elif not (pin := PIN.match(entry)):
            found.append(f"not pinned: {entry}")
        elif "+" in pin[3]:
            found.append(f"local version: {entry}")
        elif hashed and not entry.endswith("\\"):
            found.append(f"no hash: {entry}")
    return found


def names(text: str) -> set[str]:
    """The distributions that a requirements file names, normalized (PEP 503)."""
    entries = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in text.splitlines())
    return {re.sub(r"[-_.]+", "-", entry[0]).lower() for entry in entries if entry}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_lock_installs_anywhere(path: Path) -> None:
    assert faults(path.read_text(), hashed=path.name != "torch.txt") == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.in")), ids=lambda path: path.name)
def test_every_input_is_compiled(path: Path) -> None:
    locked = names(path.with_suffix(".txt").read_text()) | names((FOLDER / "torch.txt").read_text())
    assert names(path.read_text()) <= locked


def test_torch_comes_alone() -> None:
    """CPU and CUDA builds differ in hash and in what they need, so no lock may name them."""
    assert (FOLDER / "torch.txt").read_text().strip() == "torch==2.13.0"
    for path in TEXTS:
        if path.name != "torch.txt":
            bound = {
                name
                for name in names(path.read_text())
                if name in {"torch", "triton"} or name.startswith(("nvidia-", "cuda-"))
            }
            assert bound == set(), path.name


@pytest.mark.parametrize(
    "line",
    [
        "torch==2.13.0+cpu \\",
        "shap==0.51.0",
        "shap>=0.51 \\",
        "shap \\",
        "./wheels/shap-0.51.0-py3-none-any.whl \\",
        "/srv/wheels/shap-0.51.0-py3-none-any.whl",
        "shap @ https://example.com/shap.whl \\",
        "https://example.com/shap.whl",
        "git+https://example.com/shap",
        "--index-url https://example.com/simple",
        "--extra-index-url https://example.com/simple",
        "-i https://example.com/simple",
        "--find-links /srv/wheels",
        "-f /srv/wheels",
        "-e .",
        "-r other.txt",
    ],
)
def test_rule_bites(line: str) -> None:
    assert len(faults(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "shap==0.51.0 \\",
        "celery[redis]==5.7.0 \\",
        'colorama==0.4.6 ; sys_platform == "win32" \\',
        "    --hash=sha256:00ff \\",
        "    # via -r base.in",
        "# torch, left out",
    ],
)
def test_rule_lets_a_pin_be(line: str) -> None:
    assert faults(line) == []
