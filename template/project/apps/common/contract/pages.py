"""The contract of a page, and whether the server still keeps it: "orders:3:9f8e7d6c5b4a", a number and a hash."""

import logging
from functools import lru_cache

from django.apps import apps

from apps.common.contract.contract_file import ContractFile
from apps.common.contract.features import name_of, path_of, read
from apps.common.websockets import page_contracts
from apps.common.websockets.protocol import parse_page_contract

logger = logging.getLogger(__name__)

PATIENCE = 60  # seconds for which a page that is newer than each process it meets tries another one


class FeatureContracts(page_contracts.PageContracts):
    """Those of the contract files. A feature without one has no contract, and its pages are never outdated."""

    def of_page(self, module: str) -> str | None:
        name, file = _contract(module)
        return f"{name}:{file.current.number}:{file.current.hash}" if file else None

    def is_outdated(self, module: str, query: bytes) -> bool | None:
        """None for a page whose contract has a higher number: in a rolling deploy it tries another process, after a
        rollback there is none."""
        page = parse_page_contract(query)
        name, file = _contract(module) if page else ("", None)
        if not page or not file or page.feature != name or page.hash in file.hashes:
            return False
        return None if page.number > file.current.number and page.waited < PATIENCE else True


def register() -> None:
    page_contracts.Registered.contracts = FeatureContracts()


def _contract(module: str) -> tuple[str, ContractFile | None]:
    config = apps.get_containing_app_config(module)
    if not config:
        return "", None
    try:
        return name_of(config), read(path_of(config))
    except (OSError, ValueError) as error:
        _report(f"The contract file of {config.name} cannot be read: {error}")
        return "", None


@lru_cache(maxsize=256)  # once for each
def _report(error: str) -> None:
    logger.error(error)
