"""What every process pays for when it begins."""

import os
import subprocess
import sys

from gateway.settings.env import BASE_DIR


def test_start_up_loads_nothing_that_only_a_worker_needs() -> None:
    """Every command and web process begins here: what takes seconds waits for who uses it."""
    code = (
        "import django, sys; django.setup();"
        "from django.urls import get_resolver; get_resolver().url_patterns;"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BASE_DIR, check=True, capture_output=True, text=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway.settings.test"},
    )  # fmt: skip
    heavy = {
        "boto3", "onnxruntime", "opacus", "pandera", "polars", "presidio_analyzer", "pyarrow",
        "pymysql", "shap", "spacy", "torch",
    }  # fmt: skip
    assert heavy & set(done.stdout.split()) == set()
