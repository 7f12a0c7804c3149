"""No key stands in the repository or in a log: looked for by the published pattern."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.handlers.wsgi import WSGIHandler

from gateway import keys, leaks, logs
from gateway.key_format import keys_in, masked
from gateway.lane import Lane
from gateway.models import KeyMode
from gateway.settings.env import BASE_DIR
from tests.factories.gateway import make_shop
from tests.gateway.test_lane import ask, nobody


def test_a_key_is_found_wherever_it_stands_and_nothing_else_is() -> None:
    key = keys.generate(KeyMode.LIVE)
    assert list(keys_in(f'{{"Authorization":"Bearer {key.text}"}}')) == [key.public_id]
    assert list(keys_in(f"{key.text}\n{key.text}")) == [key.public_id] * 2
    other = "1" if key.text[-1] == "0" else "0"
    assert list(keys_in(key.text[:-1] + other)) == []
    assert list(keys_in(key.text[:40])) == []


def test_a_log_keeps_the_id_and_hides_the_rest() -> None:
    key = keys.generate(KeyMode.LIVE)
    for text in (key.text, key.text[:-9], key.text + "0"):
        assert masked(f"GET /x/{text}?") == f"GET /x/pck_live_{key.public_id}_…?"
    assert masked("pck_live_x and pck_") == "pck_live_x and pck_"


def test_the_repository_holds_no_key() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=BASE_DIR, check=False, capture_output=True, text=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.split("\0") if name]
    if not names:
        pytest.skip("this is no checkout")
    assert leaks.main(str(BASE_DIR / name) for name in names) == 0


def test_as_a_command_it_tells_where_and_not_what(tmp_path: Path) -> None:
    key = keys.generate(KeyMode.TEST)
    log = tmp_path / "web.log"
    log.write_bytes(b"\xff\xfe " + key.text.encode() + b"\n")
    done = subprocess.run(
        [sys.executable, "-m", "gateway.leaks", str(log), str(tmp_path / "gone")],
        cwd=BASE_DIR, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert key.public_id in done.stdout
    assert key.text not in done.stdout + done.stderr


@pytest.mark.django_db(transaction=True)
def test_calls_and_their_failures_leave_no_key_in_a_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    shop = make_shop()
    sent = [shop.secret, keys.generate(KeyMode.LIVE).text, shop.secret + "x", f"\n{shop.secret}"]
    with caplog.at_level(logging.DEBUG):
        caplog.handler.setFormatter(logs.JsonFormatter())
        for secret in sent:
            for application in (Lane(nobody), WSGIHandler()):
                ask(application, secret)
                ask(application, secret, body=secret.encode())
                ask(WSGIHandler(), secret, PATH_INFO=f"/api/v1/keys/{secret.strip()}")
                ask(WSGIHandler(), secret, QUERY_STRING=f"key={secret.strip()}")
    assert caplog.records
    told = capfd.readouterr()
    for text in (caplog.text, told.out, told.err):
        assert list(keys_in(text)) == []
