"""What `tickertape notify` makes of its settings and of alerts."""

import msgspec
import pytest

from common.errors import SettingsError
from common.settings import read_settings
from desk.notify.alerts import Alert, NotAnAlertError, notice_of, read_alert
from desk.notify.receivers import read_receivers
from desk.notify.recent import Recent
from desk.notify.settings import NotifySettings

SECRET = "T0k3nOfSomebody"  # noqa: S105  (it must not be found in a message)
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/alerts"


def alert(symbol: str = "KO", severity: str = "info", kind: str = "signal", number: int = 0) -> Alert:
    """One of many."""
    body = {
        "symbol": symbol,
        "alert_id": f"{number}#z_score",
        "timestamp": f"2026-11-25T10:00:{number:02}.500000Z",
        "rule": "z_score",
        "direction": "up",
        "severity": severity,
        "message": f"{symbol} at {number}.",
        "kind": kind,
        "price": 60.5,
    }
    return read_alert(msgspec.json.encode(body).decode())


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {"KO info", "KO critical", "PEP warning", "PEP critical quality"}),
        ("?severity=warning", {"KO critical", "PEP warning", "PEP critical quality"}),
        ("?severity=CRITICAL", {"KO critical", "PEP critical quality"}),
        ("?symbols=ko", {"KO info", "KO critical"}),
        ("?symbols=KO,PEP&kind=signal", {"KO info", "KO critical", "PEP warning"}),
        ("?format=text&kind=quality&method=PUT", {"PEP critical quality"}),
        ("?symbols=M%26M.NS", set()),
    ],
)
def test_a_url_says_what_it_wants(query: str, wanted: set[str]) -> None:
    """Severity is the lowest; symbols and kinds are those that are listed; all of it together; by default all."""
    alerts = {
        "KO info": alert(),
        "KO critical": alert(severity="critical"),
        "PEP warning": alert("PEP", "warning"),
        "PEP critical quality": alert("PEP", "critical", "quality"),
    }
    (receiver,) = read_receivers(f"json://localhost/{query}")
    assert {name for name, one in alerts.items() if receiver.wants(one)} == wanted


def test_what_is_apprises_stays_in_the_url() -> None:
    """Only our parameters are taken out of a URL; what apprise knows gets there as it was written."""
    (receiver,) = read_receivers("json://localhost/a?severity=info&method=PUT&symbols=KO&+X-Key=a%26b&rto=7")
    known = vars(receiver.service)
    assert (known["method"], known["headers"]) == ("PUT", {"X-Key": "a&b"})
    assert receiver.service.socket_read_timeout == 7


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n", ";", "\n\n  "])
def test_urls_have_anything_between_them(between: str) -> None:
    """Spaces, commas and line ends separate URLs, and the commas within one do not."""
    urls = ["json://localhost/a?symbols=KO,PEP", "ntfy://localhost/b", "discord://123/abc?severity=warning"]
    assert [r.name for r in read_receivers(between.join(urls))] == ["1 (json)", "2 (ntfy)", "3 (discord)"]


def test_the_same_url_twice_is_one() -> None:
    """One that is there twice gets what either wants, once; its address in the queue does not depend on the wish."""
    (both,) = read_receivers("json://localhost/a?symbols=KO json://localhost/a?severity=critical")
    assert [both.wants(alert("KO")), both.wants(alert("PEP")), both.wants(alert("PEP", "critical"))] == [1, 0, 1]
    (alone,) = read_receivers("json://localhost/a")
    assert alone.address == both.address
    assert read_receivers("json://localhost/b")[0].address != both.address


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (" ,; ", "there is no URL in it"),
        (SECRET, "URL 1 is none: it begins with no scheme"),
        (f"json://localhost {SECRET}", "URL 1 (json): a part of it is missing or wrong"),
        (f"{SECRET} json://localhost", "URL 1 is none"),
        (f"slak://{SECRET}/a/b", "URL 1: there is no service slak://, but there is slack://"),
        (f"json://localhost qqqqq://{SECRET}", "URL 2: there is no service qqqqq://; https://"),
        (f"slack://{SECRET}", "URL 1 (slack): a part of it is missing or wrong; https://"),
        (f"json://{SECRET}@/", "URL 1 (json): a part of it is missing or wrong"),
        (f"json://localhost/{SECRET}?severity=grave", "URL 1: severity is info or warning or critical, not 'grave'"),
        (f"json://localhost/{SECRET}?kind=all", "URL 1: kind is signal or quality, not 'all'"),
        (f"json://localhost/{SECRET}?symbols=K O", "URL 1: symbols: symbol is not 1 to 32"),
        (f"json://localhost/{SECRET}?symbols=", "URL 1: symbols: symbol is not 1 to 32"),
        (f"json://localhost/{SECRET}?symbol=KO", "URL 1: there is no symbol=, but there is symbols="),
        (f"json://localhost/{SECRET}?Severty=info", "URL 1: there is no severty=, but there is severity="),
    ],
)
def test_a_broken_url_is_told_by_its_place(urls: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL that cannot be used is refused in one line, which has nothing of the URL but its scheme."""
    with pytest.raises(SettingsError) as refused:
        read_settings(NotifySettings, ["--notify-queue-url", QUEUE, "--notify-urls", urls], "notify")
    assert str(refused.value).startswith(f"NOTIFY_URLS: {said}")
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)
    assert capsys.readouterr() == ("", "")


def test_settings_do_not_show_secrets() -> None:
    """Whoever prints the settings prints no URL."""
    settings = read_settings(NotifySettings, [f"--notify-queue-url={QUEUE}", f"--notify-urls=json://h/{SECRET}"], "x")
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())


def test_a_message_holds_as_many_as_fit() -> None:
    """Alerts are told in their order, a line each, as long as there is room; the title counts those that are told."""
    alerts = [alert(number=number, severity="warning" if number == 1 else "info") for number in range(30)]
    line = "[info] KO at 0. 2026-11-25 10:00:00 UTC"
    assert notice_of(alerts[:1], 10) == ("[info] KO: z_score up", line, "info", 1)
    few = notice_of(alerts, 300)
    assert few.body.splitlines()[0] == line
    assert len(few.title) + len(few.body) <= 300 < len(few.title) + len(few.body) + 45
    assert few.title == f"{few.alerts} alerts: 1 warning, {few.alerts - 1} info"
    assert (few.severity, len(few.body.splitlines())) == ("warning", few.alerts)
    assert notice_of(alerts, 10_000).alerts == 30


@pytest.mark.parametrize("body", ["", "{", "[]", '{"Message": "hello"}', '{"symbol": "KO"}', '{"severity": "grave"}'])
def test_what_is_no_alert_is_refused(body: str) -> None:
    """Anything else that may be in a queue is told from an alert."""
    with pytest.raises(NotAnAlertError):
        read_alert(body)


def test_an_alert_of_an_older_consumer_is_a_signal() -> None:
    """What has no kind is what all alerts were before there were kinds."""
    body = msgspec.to_builtins(alert())
    del body["kind"]
    assert read_alert(msgspec.json.encode(body).decode()) == alert()


def test_memory_has_an_end() -> None:
    """The last ten thousand are remembered, however many there were; one that comes again stays known."""
    recent = Recent[int]()
    for number in range(25_000):
        recent.add(number)
    assert [number in recent for number in (14_999, 15_000, 24_999)] == [False, True, True]
