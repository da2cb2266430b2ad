"""The contract of a page: a hook that apps.common.contract fills. Without it no page is outdated."""


class PageContracts:
    """Names the contract that a page gets, and compares that of a page that connects.

    module: the dotted name of a module of the feature, such as its consumer's.
    """

    def of_page(self, module: str) -> str | None:
        return None

    def is_outdated(self, module: str, query: bytes) -> bool | None:
        """None for a page that is newer than this process: another process will know it."""
        return False


class Registered:
    contracts = PageContracts()
