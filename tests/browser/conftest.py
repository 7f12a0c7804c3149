"""A real Chromium, driven from a thread of its own.

Playwright's synchronous interface runs an event loop in its thread, in which Django's ORM refuses
to work; so the test keeps its own thread for the database and hands each step to the browser's.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

T = TypeVar("T")
CHROMIUM: Final = Path("/usr/bin/chromium")
FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SECONDS: Final = 120


class Browser:
    """One Chromium; every person has a window without the others' cookies."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self.errors: list[str] = []

    def start(self) -> None:
        def launch() -> None:
            from playwright.sync_api import sync_playwright

            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.launch(
                executable_path=str(CHROMIUM), args=list(FLAGS)
            )

        self._run(launch)

    def stop(self) -> None:
        def close() -> None:
            self._browser.close()
            self._playwright.stop()

        self._run(close)

    def window(self, *, language: str = "en") -> "Window":
        """A new one."""

        def opened() -> "Page":
            context = self._browser.new_context(locale=language, accept_downloads=True)
            page = context.new_page()
            page.on("console", lambda said: self._heard(said.type, said.text))
            page.on("pageerror", lambda error: self.errors.append(str(error)))
            return page

        return Window(self, self._run(opened))

    def _heard(self, kind: str, text: str) -> None:
        if kind == "error":
            self.errors.append(text)

    def _run(self, step: Callable[[], T]) -> T:
        return self._thread.submit(step).result(SECONDS)


class Window:
    """A person's window: each step runs in the browser's thread."""

    def __init__(self, browser: Browser, page: "Page") -> None:
        self._browser, self._page = browser, page

    def do(self, step: "Callable[[Page], T]") -> T:
        """Do something with the page, and wait for it."""
        return self._browser._run(lambda: step(self._page))


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A Chromium; where there is none the test is skipped, and fails in CI."""
    if not CHROMIUM.exists():
        why = f"{CHROMIUM} is not there: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with ThreadPoolExecutor(1) as thread:
        found = Browser(thread)
        found.start()
        try:
            yield found
        finally:
            found.stop()
