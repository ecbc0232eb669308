"""What the notifier can be told."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from common.settings import CommandSettings
from desk.notify.receivers import Receiver, read_receivers


class NotifySettings(CommandSettings):
    """Pass alerts on to people's chats, until stopped: Slack, Discord, Telegram, ntfy, mail, webhooks and others.

    URLs are those of apprise (https://appriseit.com/services/), for instance
    NOTIFY_URLS="slack://…?severity=warning&symbols=AAPL,MSFT ntfy://topic?severity=critical". They are secrets: set
    them in the environment, since everybody on the machine sees flags.
    """

    notify_queue_url: str = Field(
        pattern=r"^https?://", description="URL of the SQS queue that is subscribed to the topic of alerts."
    )
    notify_urls: SecretStr = Field(
        description="Who is told, with spaces between URLs. In each, severity= is the lowest that is passed on (by "
        "default info), symbols= and kind=signal or kind=quality limit it to these."
    )
    notify_group_seconds: float = Field(
        30,
        ge=0,
        le=3600,
        description="A URL gets at most one message in so many seconds, which lists all alerts since the last one.",
    )

    @model_validator(mode="after")
    def _urls_can_be_used(self) -> Self:
        try:
            self.receivers()
        except ValueError as error:
            raise ValueError(f"NOTIFY_URLS: {error}") from None
        return self

    def receivers(self) -> list[Receiver]:
        """Give those who are told."""
        return read_receivers(self.notify_urls.get_secret_value())
