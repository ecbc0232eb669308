"""A CloudFormation template as CloudFormation gets it."""

import json
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, Self

from infra import templates


class TemplateFile:
    """A template, whole or in part.

    Parameters
    ----------
    content
        What is in it, with functions written out: ``{"Ref": "Stream"}``.
    body
        Its text.

    """

    def __init__(self, content: dict[str, Any], body: str) -> None:
        self._content, self.body = content, body

    @classmethod
    @cache
    def read(cls, path: Path) -> Self:
        """Read a file."""
        content = templates.read(path)
        return cls(content, _compact(content))

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """What can be set, by name."""
        declared: dict[str, dict[str, Any]] = self._content["Parameters"]
        return declared

    @property
    def outputs(self) -> Collection[str]:
        """Names of the outputs."""
        names: Collection[str] = self._content.get("Outputs", {}).keys()
        return names

    def default(self, parameter: str) -> str:
        """Give a parameter's default; empty if it has none."""
        return str(self.parameters.get(parameter, {}).get("Default", ""))

    def resource_type(self, resource: str) -> str:
        """Give the type of a resource by its logical name."""
        kind: str = self._content["Resources"][resource]["Type"]
        return kind

    def only(self, resources: Collection[str]) -> Self:
        """Give a template of some resources alone, without outputs: an import may bring nothing else."""
        kept = {name: {**self._content["Resources"][name], "DeletionPolicy": "Retain"} for name in resources}
        content = {**self._content, "Resources": kept}
        for section in ("Outputs", "Rules", "Metadata"):
            content.pop(section, None)
        return type(self)(content, _compact(content))


def _compact(content: dict[str, Any]) -> str:
    """Write a template without comments and indents, a dashboard's included: CloudFormation takes 51,200 bytes."""
    text = json.dumps(content, default=str, separators=(",", ":"))
    return re.sub(r'\\n +(?=[][{}]|\\")', "", text)  # JSON within JSON, unlike a query's lines
