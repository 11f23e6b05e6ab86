"""A real browser, where this machine has one: Chromium without a window, driven by selenium."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

BROWSER: Final = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER: Final = shutil.which("chromedriver")
LIMIT_SECONDS: Final = 20.0
SMALLEST_WINDOW: Final = 500
"""Pixels. A narrower screen is a phone's."""

needs_chromium: Final = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not here")

ARGUMENTS: Final = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


class Page:
    """What one tab shows."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def narrow_to(self, width: int, height: int = 844, *, scheme: str = "light") -> None:
        """Be a screen of this size: a window cannot be as narrow as a telephone. `scheme` is light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)

    def find(self, css: str) -> Any:
        """Return the first element that matches and is shown, waiting for it."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not (shown := self._shown(css)):
            assert time.monotonic() < deadline, f"{css} is not shown"
            time.sleep(0.02)
        return shown[0]

    def click(self, css: str) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(StaleElementReferenceException):  # gone before it was clicked
                self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.find(css))
                self.find(css).click()
                return
        raise AssertionError(f"{css} never stays long enough to be clicked")

    def wait_for_text(self, css: str, is_right: Callable[[str], bool]) -> str:
        deadline = time.monotonic() + LIMIT_SECONDS
        while not is_right(text := self._text(css)):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        return str(text)

    def read(self, css: str) -> str:
        """Return an element's text in one step: the page may change between two."""
        return str(self.driver.execute_script(f"return document.querySelector('{css}').textContent"))

    def come_back(self) -> None:
        """Return to the page as from another tab."""
        self.driver.execute_script("document.dispatchEvent(new Event('visibilitychange'))")

    def width(self) -> int:
        """Return how wide the page is, whatever the screen."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth"))

    def _shown(self, css: str) -> list[Any]:
        with contextlib.suppress(WebDriverException):  # the page is another one by now, in one of many words
            return [each for each in self.driver.find_elements(By.CSS_SELECTOR, css) if each.is_displayed()]
        return []

    def _text(self, css: str) -> str:
        with contextlib.suppress(WebDriverException):  # the page was exchanged for the next while it was asked
            return str(self.find(css).text)
        return ""

    def complaints(self) -> list[str]:
        """Return what the browser has logged since the last time, violations of the content policy among it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextlib.contextmanager
def a_page(*, width: int = 1300, height: int = 1600, runs_scripts: bool = True) -> Iterator[Page]:
    """Open a tab in a browser of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in (*ARGUMENTS, f"--window-size={width},{height}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not runs_scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    if width < SMALLEST_WINDOW:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        yield Page(driver)
    finally:
        driver.quit()
