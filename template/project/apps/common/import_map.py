"""The import map: the address of every JavaScript module of this project, by each name that an import may use.

Where files are served with a hash in their name, or under another address than /static/, an import by its plain path
would be a 404, or a second copy of the module: two base classes, two connections. The addresses are those of the
storage: hashed, signed, or of another host.
"""

import base64
import hashlib
import json
import logging
from functools import cache, lru_cache
from pathlib import Path
from posixpath import dirname
from urllib.parse import unquote, urljoin, urlsplit

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.utils.encoding import filepath_to_uri

from apps.common.checks.javascript import imports as imports_of

logger = logging.getLogger(__name__)

# These would end the script element, or begin a comment in it.
ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026"}
PACKAGES = {"site-packages", "dist-packages"}


def render() -> str:
    """The map as JSON that is safe inside a script element."""
    if settings.DEBUG:  # modules come and go
        return _render(_find_modules())
    return _render_once(settings.STATIC_URL) or _render(_modules())


def content_hash() -> str:
    """The source expression that allows the map in a policy: 'sha256-…'. For a page from a cache, whose nonce is not
    the response's. Source: Content Security Policy Level 3, 2.3.1."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(render().encode()).digest()).decode()}'"


def origin() -> str:
    """The origin of the storage's files; "" where it is this site's."""
    url = urlsplit(_address("js/services/websocket.js") or "")
    return f"{url.scheme or 'https'}://{url.netloc}" if url.netloc else ""


def imports() -> dict[str, str]:
    """The map's names and addresses."""
    return _imports(_find_modules())


def _imports(modules: list[str]) -> dict[str, str]:
    site = settings.STATIC_URL
    roots = ["/static/", urljoin(site, "/static/"), site]
    found = {path: address for path in modules if (address := _address(path))}
    # An import is resolved against the importing module's own address before the map is looked up: where static files
    # come from another host, "/static/…" and "./…" have become addresses there.
    own = [_root(path, address) for path, address in found.items()]
    roots = list(dict.fromkeys([*roots, *own, *(urljoin(root, "/static/") for root in own)]))
    names = {root + filepath_to_uri(path): address for path, address in found.items() for root in roots}
    # The longest name wins: these are for files that are no modules, or newer than this map.
    return names | dict.fromkeys(roots[:3], site)


def _root(path: str, address: str) -> str:
    """The address of the folder to which files are collected, of which this module's is a part."""
    folder = urljoin(address, ".")
    return folder.removesuffix(f"{filepath_to_uri(dirname(path))}/") if dirname(path) else folder


def _render(modules: list[str]) -> str:
    return json.dumps({"imports": _imports(modules)}).translate(ESCAPES)


@lru_cache(maxsize=4)
def _render_once(static_url: str) -> str:
    """The map, if it holds as long as the process; "" if an address has a query, as signed ones do, which expire."""
    is_signed = any(urlsplit(address).query for address in map(_address, _modules()) if address)
    return "" if is_signed else _render(_modules())


def _address(path: str) -> str | None:
    """The storage's address of a file; None if it has no such file."""
    try:
        return str(staticfiles_storage.url(path))
    except Exception as error:  # of any kind: a storage is another's code, and one file must not fail every page
        _report(path, f"{type(error).__name__}: {error}")
        return None


@lru_cache(maxsize=256)  # once for each
def _report(path: str, error: str) -> None:
    logger.warning("The import map lacks %s; does `manage.py collectstatic` collect it? %s", path, error)


@cache
def _modules() -> list[str]:
    return _find_modules()


def _find_modules() -> list[str]:
    """The paths of the modules: those of local apps, and those of packages that they import."""
    files: dict[str, Path] = {}
    for finder in get_finders():
        for path, storage in finder.list([]):
            if path.endswith((".js", ".mjs")):
                files.setdefault(path.replace("\\", "/"), Path(storage.path(path)))
    found = [path for path, file in files.items() if not PACKAGES.intersection(file.parts) and not _is_hidden(path)]
    seen = set(found)
    for path in found:  # which grows meanwhile
        new = {name for name in _imported(path, files[path]) if name in files} - seen
        seen |= new
        found += sorted(new)
    return sorted(found)


def _is_hidden(path: str) -> bool:
    return path.startswith("admin/") or any(part.startswith(".") for part in path.split("/"))


def _imported(path: str, file: Path) -> list[str]:
    """The paths that a module imports, below the folder to which files are collected."""
    if ".min." in path:  # others' code, which imports nothing of this project
        return []
    source = file.read_text(encoding="utf-8", errors="replace")
    base = "/static/"
    names = (urljoin(base + path, literal.text) for literal in imports_of(source) if literal.text[:1] in ("/", "."))
    paths = (unquote(urlsplit(name).path) for name in names)
    return [name.removeprefix(root) for name in paths for root in {base, settings.STATIC_URL} if name.startswith(root)]
