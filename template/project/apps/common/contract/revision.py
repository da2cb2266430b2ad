"""Compares the committed contract files with those of another revision, whose code never runs."""

import subprocess
from pathlib import Path

from django.core.management.base import CommandError

from apps.common.contract.compatibility import breaking_changes
from apps.common.contract.contract_file import ContractFile
from apps.common.features import APPS_DIR

ROOT = APPS_DIR.parent
PATTERN = "apps/*/static/*/js/services/*_contract.d.ts"


def breaking_changes_since(ref: str, features: list[str]) -> list[str]:
    """The changes that break open pages and stored broadcasts of that revision. Raises CommandError
    with exit code 2 if git lacks it."""
    if _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}") is None:
        raise CommandError(
            f"git knows no revision {ref!r} here. A shallow clone, as CI makes it, lacks it: "
            "`git fetch --unshallow`, or fetch-depth: 0.",
            returncode=2,
        )
    paths = (_git("ls-tree", "-r", "--name-only", ref, "./apps") or "").splitlines()
    found = []
    for path in sorted(filter(_is_contract, paths)):
        name = Path(path).parts[1]
        if not features or name in features:
            found += [f"{name}: {change}" for change in _changes(ref, path)]
    return found


def _is_contract(path: str) -> bool:
    return Path(path).match(PATTERN) and Path(path).parts[0] == "apps"


def _changes(ref: str, path: str) -> list[str]:
    try:
        old = ContractFile(_git("show", f"{ref}:./{path}") or "")
        new = ContractFile((ROOT / path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ["removed"]
    except ValueError as error:
        raise CommandError(f"{path} cannot be read: {error}.", returncode=2) from error
    return list(breaking_changes(old.current.messages, new.current.messages))


def _git(*arguments: str) -> str | None:
    """The output; None if git fails. Paths are relative to the project, which may be in a subdirectory."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)  # noqa: S603
    return done.stdout if done.returncode == 0 else None
