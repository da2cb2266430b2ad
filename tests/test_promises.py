"""Every test that docs/promises.md names exists."""

import re

from tests.template import ROOT

TEXT = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
BASE = ROOT / "template/project/apps/common/tests"
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith(("| Promise", "| ---"))]


def test_each_promise_names_tests_that_exist() -> None:
    assert len(ROWS) > 40
    for row in ROWS:
        names = re.findall(r"`([\w/]+\.(?:py|test\.js))`", row.split(" | ")[-1])
        assert names, row
        for name in names:
            path = ROOT / name if "/" in name else BASE / name
            assert path.exists(), f"{name}: {row}"
