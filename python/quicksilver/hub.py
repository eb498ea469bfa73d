"""torch.hub: files and checkpoints by URL, kept in a folder of downloads."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # of name-0123abcd.pth: the first digits of its SHA-256
_CHUNK = 1 << 20
_folder: str | None = None


def _get_torch_home() -> str:
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """Where downloads are kept: set_dir's, else $TORCH_HOME/hub, else ~/.cache/torch/hub."""
    return _folder if _folder is not None else os.path.join(_get_torch_home(), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Says where downloads are kept."""
    global _folder
    _folder = os.path.expanduser(d)


def download_url_to_file(
    url: str, dst: str, hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Writes what url gives to the file dst, whole or not at all.

    Args:
        hash_prefix: the first digits of the SHA-256 that it must have.
        progress: shows on stderr how far it is.

    Raises:
        RuntimeError: the hash is another one.
    """
    target = Path(os.path.expanduser(dst))
    digest = hashlib.sha256()
    request = Request(url, headers={"User-Agent": "quicksilver.hub"})
    with (
        urlopen(request) as source,
        tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file,
    ):
        try:
            size = int(source.headers.get("Content-Length") or 0)
            while part := source.read(_CHUNK):
                file.write(part)
                digest.update(part)
                if progress and size:
                    print(
                        f"\r{100 * file.tell() // size:3d}% {target.name}", end="", file=sys.stderr
                    )
            if progress and size:
                print(file=sys.stderr)
            if hash_prefix and not digest.hexdigest().startswith(hash_prefix):
                raise RuntimeError(
                    f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}")'
                )
            file.close()
            shutil.move(file.name, target)
        finally:
            file.close()
            if os.path.exists(file.name):
                os.remove(file.name)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> dict[str, Any]:
    """torch.load of a checkpoint by URL; it is downloaded once.

    Args:
        model_dir: where it is kept; get_dir()/checkpoints by default.
        check_hash: the name ends in the first digits of its SHA-256, which must be right.
        file_name: the name to keep it under, instead of the URL's last part.
        weights_only: kept for PyTorch's signature; files are always read without running code.
    """
    from quicksilver.serialization import load

    folder = Path(model_dir if model_dir is not None else os.path.join(get_dir(), "checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    cached = folder / name
    if not cached.exists():
        sys.stderr.write(f'Downloading: "{url}" to {cached}\n')
        found = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, str(cached), found.group(1) if found else None, progress)
    if zipfile.is_zipfile(cached) and _holds_one_file(cached):
        with zipfile.ZipFile(cached) as archive:
            inner = archive.infolist()[0].filename
            archive.extract(inner, folder)
        cached = folder / inner
    return load(cached, map_location=map_location, weights_only=weights_only)


def _holds_one_file(path: Path) -> bool:
    """A plain archive around a checkpoint; PyTorch's own zips hold several entries."""
    with zipfile.ZipFile(path) as archive:
        return len(archive.infolist()) == 1
