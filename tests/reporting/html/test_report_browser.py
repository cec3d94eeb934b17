"""The page in a real browser: silent console, the card by mouse and keyboard, dark, phone, names that are only text."""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from made_studies import HOSTILE, made_up_study, type_report

pytestmark = pytest.mark.browser

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,900",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium for the module; the tests are skipped where there is none."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver here; on Debian: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium; pip install 'lowres-ssl[browser]'")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def opened(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of runs whose classes and files have names that would do harm if they were markup."""
    folder = tmp_path_factory.mktemp("study")
    ids = [f"{HOSTILE[number % 2]}/{number}.png" for number in range(60)]
    made_up_study(folder, probes=("knn",), seeds=1, classes=HOSTILE, title=HOSTILE[0], ids=ids)
    browser.get(type_report(folder).as_uri())
    until(browser, "return document.documentElement.dataset.ready === 'true'")
    return browser


def until(browser: Any, condition: str, seconds: float = 30.0) -> None:
    """Wait until a script returns something true."""
    end = time.monotonic() + seconds
    while not browser.execute_script(condition):
        assert time.monotonic() < end, f"in vain: {condition}"
        time.sleep(0.05)


def dot(browser: Any, place: int) -> tuple[float, float]:
    """Where a dot of the first class is in the window."""
    script = """
        const box = document.querySelectorAll(".scatterlayer .trace")[0].querySelectorAll("path.point")[arguments[0]];
        const { left, top, width, height } = box.getBoundingClientRect();
        return [left + width / 2, top + height / 2];
    """
    x, y = browser.execute_script(script, place)
    return x, y


def card(browser: Any) -> dict[str, Any]:
    """What the card shows; None if it is hidden."""
    script = """
        const card = document.getElementById("card");
        return card.hidden ? null : {
            label: card.querySelector(".class").textContent,
            name: card.querySelector(".name").textContent,
            image: card.querySelector(".top img").naturalWidth,
            rows: [...card.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent),
            neighbours: [...card.querySelectorAll(".neighbours img")].map((image) => image.naturalWidth),
            kept: card.classList.contains("kept"),
        };
    """
    found: dict[str, Any] = browser.execute_script(script)
    return found


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def test_page_opens_without_a_word_and_without_a_request(opened: Any) -> None:
    assert opened.get_log("browser") == []
    entries = opened.execute_script("return performance.getEntriesByType('resource').map(({ name }) => name)")
    assert [name for name in entries if not name.startswith("data:")] == []
    refused = opened.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), (error) => done(error.name))"
    )
    assert refused == "TypeError"
    assert any("Content Security Policy" in each["message"] for each in opened.get_log("browser"))


def test_names_are_only_text(opened: Any) -> None:
    """Alerts would make the next command of the driver fail; elements would be there."""
    assert opened.execute_script("return document.querySelectorAll('img[onerror], [src=x]').length") == 0
    assert opened.execute_script("return document.querySelectorAll('script').length") == 3
    legend = opened.execute_script(
        "return [...document.querySelectorAll('.map .legend button')].map((b) => b.textContent)"
    )
    assert legend == list(HOSTILE)
    tiles = opened.execute_script("return [...document.querySelectorAll('.tile')].map((tile) => tile.textContent)")
    assert tiles
    assert all(any(hostile in text for hostile in HOSTILE) for text in tiles)


def test_pointing_at_a_dot_shows_its_image(opened: Any) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    opened.execute_script("document.querySelector('.plane').scrollIntoView({ block: 'center' })")
    time.sleep(0.2)
    assert card(opened) is None
    actions = ActionBuilder(opened)
    for step in (4, 0):
        x, y = dot(opened, 3)
        actions.pointer_action.move_to_location(round(x) + step, round(y))
    actions.perform()
    until(opened, "return !document.getElementById('card').hidden")
    shown = card(opened)
    assert shown["label"] in HOSTILE
    assert shown["image"] == 32
    assert shown["rows"] == ["SimCLR", "VICReg", "random initialisation"]
    assert shown["neighbours"] == [32] * 5
    assert not shown["kept"]
    ActionChains(opened).click().perform()
    until(opened, "return document.getElementById('card').classList.contains('kept')")
    opened.execute_script("document.querySelector('#card .neighbours button').click()")
    assert card(opened)["name"] != shown["name"], "the neighbour's card"
    press(opened, "\ue00c")  # Escape
    assert card(opened) is None


def test_keyboard_goes_from_dot_to_dot(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    opened.execute_script("document.querySelector('.judge').focus()")
    for _ in range(6):
        press(opened, Keys.TAB)
        if opened.execute_script("return document.activeElement.className") == "plane":
            break
    until(opened, "return !document.getElementById('card').hidden")
    names = [card(opened)["name"]]
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT):
        press(opened, key)
        names.append(card(opened)["name"])
    assert len(set(names)) >= 3, names
    press(opened, Keys.ENTER)
    assert card(opened)["kept"]
    assert opened.execute_script("return document.activeElement.className") == "close"
    press(opened, Keys.ESCAPE)
    assert opened.execute_script("return document.activeElement.className") == "plane"


def test_phone_scrolls_up_and_down_only(opened: Any) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    until(opened, "return innerWidth === 360 && document.querySelector('.map .main-svg').clientWidth < 360")
    opened.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    assert opened.execute_script("return document.documentElement.scrollWidth") == 360
    opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_printed_it_is_light_and_unfolded_and_afterwards_as_before(opened: Any) -> None:
    opened.execute_script("document.querySelectorAll('details').forEach((each) => (each.open = false))")
    opened.execute_script("document.documentElement.dataset.theme = 'dark'")
    state = """
        const folded = [...document.querySelectorAll('details')].filter((each) => !each.open).length;
        return [document.documentElement.dataset.theme, folded];
    """
    before = opened.execute_script(state)
    opened.execute_script("addEventListener('beforeprint', () => (window.printed = (() => {" + state + "})()))")
    printed = opened.execute_cdp_cmd("Page.printToPDF", {})
    assert len(printed["data"]) > 10_000
    assert opened.execute_script("return window.printed") == ["light", 0]
    assert opened.execute_script(state) == before
    assert before[1] > 0
    opened.execute_script("delete document.documentElement.dataset.theme")
