"""What the linter that knows every action of AWS, its resources and conditions says of a policy."""

import json
import warnings
from typing import Any


def findings(document: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Have it look at a policy's document; gives issue, detail and location of each finding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about setuptools, which parliament still uses
        from parliament import analyze_policy_string  # which takes half a second

    found = analyze_policy_string(json.dumps(document)).findings
    return [(finding.issue, finding.detail, finding.location) for finding in found]
