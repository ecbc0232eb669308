"""A bucket's objects, as the files of a folder."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from common import aws
from common.aws import ask
from common.errors import UserError
from desk.progress import progress

_SIDE_BY_SIDE = 16
_FOLDERS = ("ticks/", "raw-data/")


def fetched(url: str, folder: Path) -> Path:
    """Fetch what is below ``s3://bucket/prefix``: of an archive the folder that is read, else everything.

    Raises
    ------
    UserError
        There is nothing, or AWS refuses.

    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    s3 = aws.client("s3", connections=_SIDE_BY_SIDE)

    def below(start: str) -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start)
        return [item["Key"] for page in pages for item in page.get("Contents", []) if not item["Key"].endswith("/")]

    base = f"{prefix.rstrip('/')}/" if prefix and not Path(prefix).suffix else prefix
    about = f"bucket {bucket}, {base or 'all of it'}"
    found = (ask(about, partial(below, f"{base}{folder_below}")) for folder_below in (*_FOLDERS, ""))
    keys = next(filter(None, found), [])
    if not keys:
        raise UserError(f"{url}: there is nothing")
    root = (folder / bucket).resolve()

    def fetch(key: str) -> None:
        path = (root / key).resolve()
        if not path.is_relative_to(root):
            raise UserError(f"{url}: the key {key!r} is no path below the bucket")
        path.parent.mkdir(parents=True, exist_ok=True)

        def attempt() -> None:
            path.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

        ask(f"object {key} of bucket {bucket}", attempt)

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for _ in progress(pool.map(fetch, keys), "objects fetched", len(keys)):
            pass
    return root / base if base else root
