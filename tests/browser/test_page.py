"""The page as people use it: a real browser, on a real pipeline."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import chromium
from tests.browser.conftest import PATIENCE_MS, SYMBOLS, Dashboard, Open, bars, tick, walk
from tests.integration.pipeline import Pipeline, Put

expect.set_options(timeout=PATIENCE_MS)
VIEWS = ("/", "/symbol/INDA", "/alerts", "/pipeline")
_FRAMES = """() => new Promise((done) => {
  const end = performance.now() + 3000;
  let frames = 0;
  const step = (now) => { frames += 1; now < end ? requestAnimationFrame(step) : done(frames); };
  requestAnimationFrame(step);
})"""
"""How many frames the browser draws in three seconds."""

PHONE = {"width": 360, "height": 740}


def row(page: Page, symbol: str) -> str:
    """The selector of a symbol's row."""
    return f'tr[data-symbol="{symbol}"]'


def markers(page: Page) -> int:
    """How many alerts are marked on the chart."""
    return int(page.locator(".chart").get_attribute("data-markers") or 0)


def wait_for_markers(page: Page, number: int) -> None:
    """Wait until so many alerts are marked."""
    page.wait_for_function("number => Number(document.querySelector('.chart').dataset.markers) >= number", arg=number)


def test_every_symbol_is_shown_with_its_numbers(open_page: Open) -> None:
    """Price, change, trend, the last prices as a line, and the last alert with its sentence."""
    page = open_page()
    for symbol in (*SYMBOLS, "INDA"):
        line = page.locator(row(page, symbol))
        expect(line.locator(".price")).to_have_text(re.compile(r"^\d+\.\d\d$"))
        expect(line.locator("td").nth(1)).to_have_text(re.compile(r"^[+−]?\d+\.\d\d %$"))
        expect(line.locator("path")).to_have_attribute("d", re.compile(r"^M0\.0 .*L120\.0 "))
    expect(page.locator(row(page, "INDA")).locator(".alert-link")).to_have_attribute("title", re.compile("^INDA at "))


def test_quotes_move(open_page: Open, pipeline: Pipeline) -> None:
    """What is published is on the page soon, without loading it anew."""
    page = open_page()
    expect(page.locator(row(page, "KO")).locator(".price")).not_to_be_empty()
    pipeline.put([tick("KO", 123.45, datetime.now(UTC), previous_close=99)])
    expect(page.locator(row(page, "KO")).locator(".price")).to_have_text("123.45")
    expect(page.locator(row(page, "KO")).locator("td").nth(1)).to_have_text("+24.70 %")


def test_an_alert_of_a_replayed_bar_is_on_the_chart(open_page: Open, pipeline: Pipeline) -> None:
    """Recorded bars come in, a rule fires, and the chart that is open marks it and tells its sentence."""
    page = open_page("/symbol/INDA")
    wait_for_markers(page, 1)
    before = page.locator("li time").first.get_attribute("datetime") or ""
    pipeline.put([tick("INDA", 61, datetime.now(UTC), previous_close=43.5, volume=10**6)])
    page.wait_for_function("before => document.querySelector('li time').dateTime > before", arg=before)
    expect(page.locator(".alerts .message").first).to_contain_text("INDA at 61")
    assert markers(page) >= 1


def test_only_alerts_that_come_now_are_new(open_page: Open, pipeline: Pipeline) -> None:
    """Those of before, which the page begins with, are not counted as new ones; one that comes now is."""
    page = open_page()
    expect(page.locator(row(page, "INDA")).locator(".alert-link")).not_to_be_empty()
    expect(page.locator("#unseen")).to_be_hidden()
    pipeline.put([tick("AAPL", 300, datetime.now(UTC), previous_close=99)])
    expect(page.locator("#unseen")).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator(".alerts .message").first).to_contain_text("AAPL at 300")
    expect(page.locator("#unseen")).to_be_hidden()


def test_the_chart_tells_an_alert_under_the_pointer(open_page: Open) -> None:
    """A click on an alert goes to its moment on the chart, with the sentence."""
    page = open_page("/alerts")
    first = page.locator(".alerts a", has_text="INDA").first
    sentence = first.locator(".message").inner_text()
    first.click()
    expect(page).to_have_url(re.compile(r"/symbol/INDA\?at=\d{4}-"))
    expect(page.locator(".tip")).to_contain_text(sentence)


def test_averages_and_band_are_drawn(open_page: Open) -> None:
    """The legend names what the table has: averages by the sizes of their windows, and the band."""
    page = open_page("/symbol/INDA")
    legend = page.locator(".u-legend").first
    for name in ("SMA-5", "SMA-20", "Bollinger high", "Price"):
        expect(legend).to_contain_text(name)
    box = page.locator(".u-over").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    expect(legend.locator(".u-value").last).to_have_text(re.compile(r"^\d+\.\d\d$"))


def test_a_link_opens_the_same_view(open_page: Open) -> None:
    """Span and zoom are in the address."""
    page = open_page("/symbol/INDA")
    wait_for_markers(page, 1)
    page.keyboard.press("2")
    expect(page.locator('button[data-span="day"]')).to_have_attribute("aria-pressed", "true")
    wait_for_markers(page, 1)
    all_of_it = markers(page)
    for _ in range(4):
        page.keyboard.press("+")
    expect(page).to_have_url(re.compile(r"span=day&from=\d+&to=\d+"))
    zoomed = markers(page)
    assert zoomed < all_of_it
    again = open_page(page.url.removeprefix(page.evaluate("location.origin")))
    again.wait_for_function("number => Number(document.querySelector('.chart').dataset.markers) === number", arg=zoomed)


@pytest.mark.parametrize(("typed", "shown"), [("ms", ["MSFT"]), ("a", ["AAPL", "INDA"]), ("nothing like it", [])])
def test_symbols_are_filtered_as_one_types(open_page: Open, typed: str, shown: list[str]) -> None:
    """The key / goes to the field; the address keeps what is typed; Escape shows all again."""
    page = open_page()
    expect(page.locator(row(page, "MSFT"))).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type(typed)
    page.wait_for_function(
        """names => [...document.querySelectorAll('tbody tr')]
          .map((row) => row.dataset.symbol).sort().join() === names""",
        arg=",".join(shown),
    )
    page.keyboard.press("Escape")
    expect(page.locator(row(page, "KO"))).to_be_visible()


def test_alerts_are_filtered(open_page: Open) -> None:
    """By severity, by rule and by symbol; what is chosen stays in the address."""
    page = open_page("/alerts?severity=critical")
    expect(page.locator(".alerts .tag").first).to_have_text("critical")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.alerts .tag')].every((tag) => tag.textContent === 'critical')"
    )
    page.get_by_label("Severity").select_option("")
    rules = page.get_by_label("Rule").locator("option")
    expect(rules.nth(1)).to_be_attached()
    rule = rules.nth(1).get_attribute("value") or ""
    page.get_by_label("Rule").select_option(rule)
    page.wait_for_function(
        "rule => [...document.querySelectorAll('.alerts .rule')].every((one) => one.textContent === rule)",
        arg=rule.replace("_", " "),
    )
    expect(page).to_have_url(re.compile(f"rule={rule}"))
    page.get_by_label("Filter symbols").fill("no such")
    expect(page.locator(".empty")).to_have_text("No alert fits these filters.")


def test_an_unknown_symbol_has_near_ones(open_page: Open) -> None:
    """Who mistypes an address is helped."""
    page = open_page("/symbol/APPL")
    expect(page.locator(".empty")).to_contain_text("There are no ticks of APPL.")
    open_page.faults.clear()  # type: ignore[attr-defined]  # the browser tells of the 404
    page.locator(".empty a", has_text="AAPL").click()
    expect(page.locator("h1")).to_have_text("AAPL")
    expect(page.locator("canvas").first).to_be_visible()


def test_the_pipeline_is_shown(open_page: Open) -> None:
    """Its shard with the worker, its counts, and what is in quarantine: as text, whatever it is."""
    page = open_page("/pipeline")
    expect(page.locator("tbody th").first).to_have_text("0")
    expect(page.locator("tbody td").first).not_to_have_text("no worker")
    record = page.locator("details").first
    record.locator("summary").click()
    expect(record.locator("pre")).to_contain_text("<img src=x onerror=")
    assert page.locator("pre img").count() == 0
    assert "harmed" not in page.title()
    expect(page.locator(".facts")).to_contain_text("quarantined")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_nobody_is_kept_out(open_page: Open, view: str, scheme: str) -> None:
    """Axe finds nothing serious: contrast, labels, order of headings, what a screen reader says."""
    page = open_page(view, color_scheme=scheme)
    page.locator("canvas, tbody tr, .alerts a, .facts").first.wait_for()
    page.evaluate("script => { new Function(script).call(window); }", chromium.axe())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in serious] == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_shows_all_of_it(open_page: Open, view: str) -> None:
    """Nothing is wider than the screen, and what one touches is there."""
    page = open_page(view, viewport=PHONE, has_touch=True, is_mobile=True)
    page.locator("canvas, tbody tr, .alerts a, .facts").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for name in ("Market", "Alerts", "Pipeline"):
        expect(page.locator("nav a", has_text=name)).to_be_in_viewport()


def test_the_keyboard_is_enough(open_page: Open) -> None:
    """From the market to a chart and back without a mouse."""
    page = open_page()
    expect(page.locator("tbody tr").first).to_be_visible()
    page.keyboard.press("j")
    symbol = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(symbol)
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_have_text("Market")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_be_visible()


def test_light_and_dark_can_be_chosen(open_page: Open) -> None:
    """The system's, until one chooses; the choice stays."""
    page = open_page(color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate(ground) != dark
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_five_hundred_symbols_are_smooth(open_page: Open, pipeline: Pipeline) -> None:
    """All are there, and the browser draws on while they move."""
    now = datetime.now(UTC)
    names = [f"S{number:03}" for number in range(500)]
    pipeline.put([tick(name, 10 + n % 90, now, previous_close=10 + n % 83) for n, name in enumerate(names)], batch=500)
    page = open_page()
    page.wait_for_function("() => document.querySelectorAll('tbody tr').length >= 504")
    later = now + timedelta(seconds=1)
    pipeline.put(
        [tick(name, 11 + n % 90, later, previous_close=10 + n % 83) for n, name in enumerate(names)], batch=500
    )
    frames = page.evaluate(_FRAMES)
    assert frames > 30  # it draws on; how smoothly is the machine's matter, too
    page.get_by_label("Filter symbols").fill("S499")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(row(page, "S499")).locator(".price")).to_have_text(f"{11 + 499 % 90}.00")


def test_it_comes_back_by_itself(open_page: Open, dashboard: Dashboard, pipeline: Pipeline) -> None:
    """When the server is gone the page says so, and goes on when it is there again."""
    page = open_page()
    expect(page.locator("#connection")).to_have_text("live")
    dashboard.kill()
    expect(page.locator("#lost")).to_contain_text("connection to the dashboard is lost")
    dashboard.start()
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("#connection")).to_have_text("live")
    pipeline.put([tick("MSFT", 321.5, datetime.now(UTC), previous_close=99)])
    expect(page.locator(row(page, "MSFT")).locator(".price")).to_have_text("321.50")
    open_page.faults.clear()  # type: ignore[attr-defined]  # the browser tells of the lost connection


def test_the_token_opens_the_page(browser: Browser, pipeline: Pipeline) -> None:
    """The printed address shows the page and is not seen any more; without the token there is a clear word."""
    guarded = Dashboard(pipeline, "--token", "random")
    context = browser.new_context(locale="en-US")
    try:
        page = context.new_page()
        page.goto(guarded.origin)
        expect(page.locator("body")).to_contain_text("This page needs its token")
        page.goto(guarded.address)
        expect(page.locator("tbody tr").first).to_be_visible()
        assert "token" not in page.url
    finally:
        context.close()
        guarded.kill()


def test_no_consumer_is_said_in_words(open_page: Open, pipeline: Pipeline) -> None:
    """Whoever looks at any view learns that nobody processes the stream. It comes last, as it ends the consumer."""
    for consumer in pipeline._consumers:
        consumer.terminate()
        consumer.wait(60)
    page = open_page()
    expect(page.locator("#problems")).to_contain_text("No consumer is running")
    pipeline.put([Put("KO", walk("KO", 1)[0].data), *bars(1)])
