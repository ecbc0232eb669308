"""What `make push`, `make scan-image`, `make deploy` and `make destroy` run."""

import os
import sys
from collections.abc import Callable, Mapping

from botocore.exceptions import BotoCoreError, ClientError

from common.errors import SettingsError, UserError
from ecs.account import Account
from ecs.bootstrap import bootstrap
from ecs.deploy import deploy
from ecs.destroy import destroy
from ecs.image import push, scan
from ecs.request import Request

ACTIONS: Mapping[str, Callable[[Account, Request], None]] = {
    "push": push,
    "scan-image": scan,
    "deploy": deploy,
    "destroy": destroy,
    "bootstrap": bootstrap,
}
_OF_AN_IMAGE = {"deploy", "scan-image"}


def main(arguments: list[str]) -> int:
    """Run an action; whatever the person can mend becomes one line on stderr."""
    if len(arguments) != 1 or arguments[0] not in ACTIONS:
        sys.stderr.write(f"usage: python -m ecs {'|'.join(ACTIONS)}\n")
        return SettingsError.exit_code
    action = arguments[0]
    try:
        request = Request.read(os.environ)
        ACTIONS[action](Account.connect(image=request.image if action in _OF_AN_IMAGE else None), request)
    except UserError as error:
        return _refuse(action, str(error), error.exit_code)
    except ClientError as error:
        about = error.response["Error"]
        return _refuse(action, f"AWS refused {error.operation_name} ({about['Code']}): {about['Message']}")
    except BotoCoreError as error:
        return _refuse(action, f"AWS could not be asked: {error}")
    return 0


def _refuse(action: str, reason: str, exit_code: int = UserError.exit_code) -> int:
    sys.stderr.write(f"make {action}: {' '.join(reason.split())}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
