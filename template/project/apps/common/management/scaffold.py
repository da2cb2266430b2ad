"""Adds a feature to this project: Copier renders it in a scratch project, and the new files are copied from there.

Copier is in the dev group, and takes a second to import; so it is imported where it is used.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError

PROJECT = Path(__file__).resolve().parents[3]
# The second one is that of a project into which only the common part was copied.
ANSWERS_FILES = [".copier-answers.yml", ".copier-answers.channels.yml"]
LAYOUT = "django-channels"
# Each error needs another rendering; more than these are not reported.
MAX_ERRORS = 20


@dataclass(frozen=True)
class Template:
    """The template that made this project, and its version then: a feature must fit what it builds on."""

    source: str
    version: str | None
    recorded_in: str


def is_generated() -> bool:
    """Whether the template made this project, which then uses uv. An existing project may use other tools."""
    return not (PROJECT / ANSWERS_FILES[1]).is_file()


def recorded_template(project: Path) -> Template:
    import yaml

    for name in ANSWERS_FILES:
        if (project / name).is_file():
            answers = yaml.safe_load((project / name).read_text(encoding="utf-8"))
            if isinstance(answers, dict) and answers.get("layout") == LAYOUT and "_src_path" in answers:
                return Template(answers["_src_path"], answers.get("_commit"), name)
    raise CommandError(
        f"No file here says which template made this project: {' or '.join(ANSWERS_FILES)}, with the lines "
        f"'_src_path: …' and 'layout: {LAYOUT}'. Restore it from the project's history."
    )


def add_feature(
    answers: dict[str, Any], *, ask: bool = False, dry_run: bool = False, errors: Sequence[str] = ()
) -> list[Path]:
    """Makes a feature, asking for the answers that are missing if `ask`. Returns the paths of its files.

    errors: what is known to be wrong with the answers already.

    Raises CommandError with one line for each error; then nothing was written.
    """
    if find_spec("copier") is None:
        fix = "It is in the dev group: uv sync" if is_generated() else 'pip install "copier>=9.19.1,<10"'
        raise CommandError(f"Copier is not installed here. {fix}")
    template = recorded_template(PROJECT)
    with scratch_project(template) as folder:
        before = _files(folder)
        refusals = _render(template, folder, answers, ask=ask)
        made = [path.relative_to(folder) for path in sorted(_files(folder) - before)]
        # Of a model that Django does not have, the template has nothing to add.
        unknown = "model" if errors and not answers.get("model_facts") else None
        errors = [*errors, *(refusal.reason for refusal in refusals if refusal.question != unknown)]
        if "feature" not in {refusal.question for refusal in refusals}:
            errors += app_errors(made[0].parts[1] if made else answers.get("feature", ""))
        if errors:
            raise CommandError("\n".join(errors))
        if not dry_run:
            _copy_new(made, folder, PROJECT)
    return made


@contextmanager
def scratch_project(template: Template) -> Iterator[Path]:
    """A folder with what the validators look at: the answers, and the names of all files below apps/."""
    with TemporaryDirectory() as folder:
        shutil.copy(PROJECT / template.recorded_in, folder)
        shutil.copytree(
            PROJECT / "apps",
            Path(folder) / "apps",
            ignore=shutil.ignore_patterns("__pycache__", "node_modules"),
            ignore_dangling_symlinks=True,
            copy_function=lambda _, copy: Path(copy).touch(),
        )
        yield Path(folder).resolve()


def _copy_new(paths: list[Path], folder: Path, project: Path) -> None:
    """Copies files that are new in the project: all of them, or none."""
    try:
        for path in paths:
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / path, project / path)
    except OSError as error:
        for path in paths:
            (project / path).unlink(missing_ok=True)
        for parent in sorted({parent for path in paths for parent in path.parents}, reverse=True):
            if (project / parent).is_dir() and not any((project / parent).iterdir()):
                (project / parent).rmdir()
        raise CommandError(f"{error}. Nothing was made.") from error


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def _render(template: Template, folder: Path, answers: dict[str, Any], *, ask: bool) -> "list[Refusal]":
    """Renders the feature, or returns why the answers are refused. The rules are the template's."""
    import copier
    from copier.errors import CopierError

    refusals: list[Refusal] = []
    for number in range(MAX_ERRORS):
        try:
            copier.run_copy(
                template.source,
                folder,
                data=answers,
                vcs_ref=template.version,
                defaults=not ask,
                quiet=True,
                pretend=bool(refusals),
                unsafe=False,
            )
            break
        except KeyboardInterrupt as error:
            raise CommandError("Interrupted. Nothing was made.") from error
        except (CopierError, ValueError, OSError) as error:
            refusal = Refusal.of(error)
            if refusal is None:
                raise CommandError(_unreadable(template, error)) from error
            if refusal in refusals:
                break  # its replacement is refused, too
            refusals.append(refusal)
            if ask or refusal.question not in answers:
                break
            answers = {**answers, refusal.question: refusal.replacement(number)}
    return refusals


def _unreadable(template: Template, error: Exception) -> str:
    return (
        f"The template {template.source} cannot be read at version {template.version}: "
        f"{str(error).strip().splitlines()[-1].lstrip(' |')}\n"
        f"If it has moved, write its new address into {template.recorded_in}, as _src_path."
    )


@dataclass(frozen=True)
class Refusal:
    """Copier stops at the first invalid answer. To find further errors, it renders again with a replacement."""

    question: str
    reason: str

    @classmethod
    def of(cls, error: Exception) -> "Refusal | None":
        if found := re.fullmatch(r"Validation error for question '(\w+)': (.+)", str(error), re.S):
            return cls(found[1], found[2])
        if found := re.fullmatch(r"Invalid choice for '(\w+)': (.+)", str(error), re.S):
            return cls(found[1], f"{found[1]} {found[2]}")
        return None

    def replacement(self, number: int) -> str:
        """An answer that is accepted. A refusal names all errors of its answer."""
        accepted = {
            "access": "authenticated",
            "per": "site",
            "render": "data",
            "model": "Other name:str parent:fk:other.Other",
        }
        return accepted.get(self.question, f"other_n{number}")


def app_errors(name: str) -> list[str]:
    """Conflicts that the template cannot see: with an installed app, or with the label of one in apps/."""
    errors = []
    for config in apps.get_app_configs():
        own = config.name == f"apps.{name}"
        if config.label == name and not own:
            errors.append(f"feature '{name}' is the label of an installed app, {config.name}. Choose another name.")
        if own and config.label != name:
            errors.append(f"apps/{name}/apps.py has the label '{config.label}'. Write '{name}', or leave it out.")
    return errors
