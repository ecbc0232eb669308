"""`make bootstrap`: what an administrator creates once, so that a GitHub repository deploys without keys."""

import re

from common.errors import SettingsError
from ecs.account import Account, say
from ecs.request import Request
from ecs.stack import Stack
from ecs.template import TemplateFile
from infra.templates import BOOTSTRAP


def bootstrap(account: Account, request: Request) -> None:
    """Create GitHub's provider, the deploying role and the boundaries, and print the role.

    Raises
    ------
    UserError
        The repository is not named, or AWS refuses.

    """
    if not re.fullmatch(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9_.-]{1,100}", request.github):
        raise SettingsError(f"GITHUB is OWNER/REPOSITORY, not {request.github!r}: make bootstrap GITHUB=me/tickertape")
    stack = Stack(account, f"{request.stack}-bootstrap")
    stack.remove_failed_creation()
    given = {
        "GitHubRepository": request.github,
        "Stack": request.stack,
        "ImageRepositoryName": request.repository,
        **({} if stack.exists else {"OidcProvider": "EXISTING" if _has_provider(account) else "NEW"}),
    }
    stack.apply(TemplateFile.read(BOOTSTRAP), given)
    say(f"AWS_ROLE_ARN={stack.outputs['DeployRoleArn']}")


def _has_provider(account: Account) -> bool:
    providers = account.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    return any(provider["Arn"].endswith("/token.actions.githubusercontent.com") for provider in providers)
