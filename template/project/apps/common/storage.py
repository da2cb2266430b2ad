"""Static files in production: hashed and compressed, and never the reason of a page's failure."""

import logging
from functools import lru_cache

from whitenoise.storage import CompressedManifestStaticFilesStorage

logger = logging.getLogger(__name__)


class StaticFilesStorage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's. A file that was not collected has its plain address, which is a 404, where Django's own storage
    would fail every page that names it."""

    def stored_name(self, name: str) -> str:
        try:
            return str(super().stored_name(name))
        except ValueError as error:
            _report(name, str(error))
            return name


@lru_cache(maxsize=256)  # once for each
def _report(name: str, error: str) -> None:
    logger.error("%.200r was not collected; run `manage.py collectstatic`. %s", name, error)
