"""What the embedded AWS holds, in a file while it does not run.

Queues are left out: moto's cannot be written, and all that reads ours is a view.
"""

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from moto.cloudformation.models import cloudformation_backends
from moto.dynamodb.models import dynamodb_backends
from moto.kinesis.models import kinesis_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends

_BACKENDS: dict[str, dict[str, Any]] = {
    "cloudformation": cloudformation_backends,
    "dynamodb": dynamodb_backends,
    "kinesis": kinesis_backends,
    "s3": s3_backends,
    "sns": sns_backends,
}


def load(file: Path) -> None:
    """Bring back what `save` has written, if it has."""
    if file.exists():
        for service, accounts in pickle.loads(file.read_bytes()).items():  # noqa: S301  (nobody else writes this file)
            _BACKENDS[service].update(accounts)


def save(file: Path) -> None:
    """Write the file anew; nobody may be served meanwhile."""
    state = BytesIO()
    _Pickler(state).dump({service: dict(backend) for service, backend in _BACKENDS.items()})
    whole = file.with_suffix(".new")
    whole.write_bytes(state.getvalue())
    whole.replace(file)


class _Pickler(pickle.Pickler):
    """Also writes what pickle cannot: the private part of the stack's KMS key."""

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401  (as its base has it)
        """Say how a value is made anew."""
        if isinstance(value, RSAPrivateKey):
            return _private_key, (value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),)
        return NotImplemented


def _private_key(written: bytes) -> object:
    return load_der_private_key(written, None)
