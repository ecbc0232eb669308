"""Hands each message of the queue to the URLs that want its alert."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence

from desk.notify.alerts import Alert, Key, NotAnAlertError, read_alert
from desk.notify.delivery import Delivery, InHand
from desk.notify.queue import AlertQueue, Message
from desk.notify.recent import Recent

log = logging.getLogger(__name__)


class Dispatcher:
    """Sees to it that a message is for one URL alone.

    The queue is all that remembers who was told. So an alert that several URLs want is put back as a copy for each of
    them, before its message is deleted: then one URL that fails keeps its copy, and those that were told have none any
    more, also after a restart.
    """

    def __init__(self, queue: AlertQueue, deliveries: Sequence[Delivery]) -> None:
        self._queue = queue
        self._deliveries = deliveries
        self._copied = Recent[Key]()

    def hand_out(self, messages: Iterable[Message]) -> None:
        """Give messages to deliveries; those that nobody wants are deleted."""
        taken: defaultdict[Delivery, list[InHand]] = defaultdict(list)
        done: list[str] = []
        for message in messages:
            try:
                alert = read_alert(message.body)
            except NotAnAlertError as error:
                log.error("not_an_alert", extra={"error": str(error), "body": message.body[:1000]})  # noqa: TRY400  (whose code it came from does not matter)
                done.append(message.id)
                continue
            wanted = self._wanted(message, alert)
            if len(wanted) == 1:
                taken[wanted[0]].append(InHand(message.id, alert))
            else:
                self._copy(message, alert, wanted)
                done.append(message.id)
        for delivery, offered in taken.items():
            delivery.take(offered)
        self._queue.delete(done)

    def _wanted(self, message: Message, alert: Alert) -> list[Delivery]:
        """Give those that a message is for; a copy whose URL is not in the settings any more is for nobody."""
        return [
            delivery
            for delivery in self._deliveries
            if message.address == delivery.receiver.address
            or (message.address is None and delivery.receiver.wants(alert))
        ]

    def _copy(self, message: Message, alert: Alert, wanted: Sequence[Delivery]) -> None:
        if wanted and alert.key not in self._copied:
            self._queue.send(message.body, [delivery.receiver.address for delivery in wanted])
            self._copied.add(alert.key)
