"""STORES and SERVICES as one types them: words of a shell, and JSON as it is."""

import pytest

from common.errors import SettingsError
from ecs.request import Request


def services(text: str) -> dict[str, str]:
    """What SERVICES says."""
    return dict(Request.read({"SERVICES": text}).services)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", {}),
        ("Feed=yahoo Symbols=KO,^GSPC", {"Feed": "yahoo", "Symbols": "KO,^GSPC"}),
        ("Symbols='M&M.NS,KO'", {"Symbols": "M&M.NS,KO"}),
        ("Symbols=", {"Symbols": ""}),
        ('PriceLevels={"KO":60}', {"PriceLevels": '{"KO":60}'}),
        (
            'MinTasks=2  PriceLevels={"KO": 60} Feed=yahoo',
            {"MinTasks": "2", "PriceLevels": '{"KO": 60}', "Feed": "yahoo"},
        ),
        ('FieldMap={"a b": "price"} PriceLevels={}', {"FieldMap": '{"a b": "price"}', "PriceLevels": "{}"}),
        ('FieldMap={"it\'s": "price"}', {"FieldMap": '{"it\'s": "price"}'}),
        ("PriceLevels='{\"KO\": 60}'", {"PriceLevels": '{"KO": 60}'}),
        ('PriceLevels="{\\"KO\\": 60}"', {"PriceLevels": '{"KO": 60}'}),
        ("MinTasks=1 MinTasks=2", {"MinTasks": "2"}),
    ],
)
def test_parameters_are_read(text: str, read: dict[str, str]) -> None:
    """Words are those of a shell; an object of JSON needs no quotes around it, and may have them."""
    assert services(text) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PriceLevels={KO: 60}", "SERVICES: PriceLevels= is not followed by JSON"),
        ('PriceLevels={"KO": 60', "SERVICES: PriceLevels= is not followed by JSON"),
        ('PriceLevels= {"KO": 60}', "SERVICES holds parameters"),
        ("MinTasks", "SERVICES holds parameters"),
        ("Feed='yahoo", "SERVICES cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, said: str) -> None:
    """One line names the variable and what is wrong with it."""
    with pytest.raises(SettingsError, match=said):
        services(text)
