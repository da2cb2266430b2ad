"""Brings the project, then each of its features, to the newest version of their template: one commit each.

A project's update.py renders this file with `updater=true`, imports it, and calls main() in the project's root, with
the same arguments and with Copier installed. Projects of every released version do so: no more can be required of their
update.py.

For each of them Copier makes a repository of two commits in a temporary folder: the files of the recorded version of
the template, and those of the newer version. Errors show there, before anything changes. Then git cherry-picks each
second commit. So an owner's edit is merged, also into a file that moved, or it is a conflict that git shows; it is
never lost. `uv run update.py --answer base_tests=true` changes an answer of the project in the same way.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path.cwd()
# The second belongs to a project into which only the common part was copied.
PROJECT_ANSWERS = (".copier-answers.yml", ".copier-answers.channels.yml")
AGAIN = "then run update.py again."
FIXED_ANSWERS = ("feature", "existing", "layout")  # they choose which scaffold is rendered
BACK = "To take this update back: git reset --hard"


class UpdateError(Exception):
    """The reason why the update ends, then the fix. Earlier commits stay."""


@dataclass(frozen=True)
class Part:
    """The project, or one of its features, as its answers file records it."""

    file: str
    name: str
    answers: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.answers.get("_commit"))

    @property
    def source(self) -> str:
        return str(self.answers.get("_src_path"))


@dataclass(frozen=True)
class Update:
    """Two commits of a temporary repository, of which the second makes the template's changes."""

    title: str
    repository: Path
    old: str
    new: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="update.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", metavar="VERSION", help="this tag of the template instead of its newest release")
    answer: Any = {"metavar": "NAME=VALUE", "type": name_and_value, "action": "append", "default": []}
    parser.add_argument("--answer", help="change an answer of the project, such as base_tests=true", **answer)
    parser.add_argument("--check", action="store_true", help="only list the updates; exit 1 if there are any")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            updates = prepare_all(options.to, dict(options.answer), Path(folder).resolve())
            for update in updates:
                print(update.title, flush=True)
                if not options.check:
                    apply(update)
    except UpdateError as error:
        print(error, file=sys.stderr)
        return 1
    if updates and not options.check:
        no_uv = (ROOT / PROJECT_ANSWERS[1]).is_file()  # perhaps: the tools of an existing project are its owner's
        print("Done. Next:", "python manage.py check, and your tests" if no_uv else "uv sync, uv run pytest")
    return int(options.check and bool(updates))


def prepare_all(version: str | None, changed: dict[str, str], folder: Path) -> list[Update]:
    """All checks run here, before anything changes."""
    check_repository()
    parts = find_parts()
    tags = [template_tags(part.source) for part in parts]
    targets = [version or newest_version(found) for found in tags]
    answers = [changed] + [{}] * len(parts[1:])  # they are the project's, which comes first
    jobs = [(*job, folder) for job in zip(parts, targets, answers, strict=True) if job[0].version != job[1] or job[2]]
    with ProcessPoolExecutor() as pool:
        updates = [update for update in pool.map(prepare, *zip(*jobs, strict=True)) if update] if jobs else []
    for update in updates:
        check_ignored(update)
    if not updates:
        print(f"Everything is at {' and '.join(sorted(set(targets)))} already.")
    return updates


def name_and_value(answer: str) -> tuple[str, str]:
    name, equals, value = answer.partition("=")
    if not equals or name.startswith("_") or name in FIXED_ANSWERS:
        raise argparse.ArgumentTypeError(f"{answer!r} is no NAME=VALUE that can change, such as base_tests=true")
    return name, value


def check_repository() -> None:
    """Refuse a repository without a commit, with conflicts, or with uncommitted work, which could be lost."""
    start = f"An update builds on a first commit: git init, git add --all, git commit --message Start, {AGAIN}"
    git("rev-parse", "--verify", "HEAD", error=start)
    if files := unmerged():
        raise UpdateError(f"Finish the last update: resolve {join_paths(files)}, git add, git commit, {AGAIN} {BACK}")
    if changed := nul_separated(git("status", "--porcelain", "--no-renames", "--untracked-files=all", "-z")):
        raise UpdateError(f"Not committed: {join_paths(entry[3:] for entry in changed)}. Commit or stash that, {AGAIN}")


def find_parts() -> list[Part]:
    projects = [part for file in PROJECT_ANSWERS if (part := read_part(file, "the project"))]
    folders = sorted(path.parent.name for path in ROOT.glob("apps/*/.copier-answers.yml"))
    features = [read_part(f"apps/{folder}/.copier-answers.yml", f"apps/{folder}") for folder in folders]
    return projects + [part for part in features if part]


def read_part(file: str, name: str) -> Part | None:
    """The part that an answers file describes; None without one, or for another template's."""
    import yaml

    text = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
    if not re.search(r"^layout: django-channels\s*$", text, re.MULTILINE):
        return None
    try:
        part = Part(file, name, yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UpdateError(f"{file} is no YAML: {' '.join(str(error).split())}. Restore Copier's version.") from None
    folder = name.removeprefix("apps/")
    for number, line in enumerate(text.splitlines(), 1):
        key = line.partition(":")[0]
        if folder != name and key in ("feature", "added") and part.answers[key] != folder:
            fix = f"If it was renamed, write {key}: {folder} there, commit, {AGAIN}"
            raise UpdateError(f"Line {number} of {file} is `{line}`, but its folder is called {folder}. {fix}")
    return part


@cache
def template_tags(source: str) -> list[str]:
    address = re.sub(r"^gl:/?", "https://gitlab.com/", re.sub(r"^gh:/?", "https://github.com/", source))
    address = str(Path(address).expanduser()) if address.startswith("~") else address.removeprefix("git+")
    fix = f"If it moved, write its new address as _src_path in every answers file, commit, {AGAIN}"
    unreachable = f"The template {source} cannot be reached; nothing was changed. {fix}"
    lines = git("ls-remote", "--tags", "--refs", "--", address, error=unreachable).splitlines()
    return [line.partition("refs/tags/")[2] for line in lines]


def newest_version(tags: list[str]) -> str:
    """The newest that is a version and no prerelease."""
    from packaging.version import InvalidVersion, Version

    versions = {}
    for tag in tags:
        with suppress(InvalidVersion):
            versions[Version(tag)] = tag
    released = [version for version in versions if not version.is_prerelease]
    if not released:
        raise UpdateError("The template has no released version. Name another: update.py --to VERSION")
    return versions[max(released)]


def prepare(part: Part, target: str, changed: dict[str, str], folder: Path) -> Update | None:
    """Make the repository of two commits; None if the template has nothing new for this part."""
    import copier
    import yaml
    from copier.errors import CopierError

    repository = Path(tempfile.mkdtemp(dir=folder))
    place = repository / git("rev-parse", "--show-prefix").removesuffix("\n")
    # Answers that are given are validated; of those that it finds, Copier drops what a newer version refuses.
    answers = {key: answer for key, answer in part.answers.items() if not key.startswith("_")}
    how: dict[str, Any] = {"answers_file": part.file, "data": answers, "defaults": True, "overwrite": True}
    version = part.version
    try:
        copier.run_copy(part.source, place, vcs_ref=version, quiet=True, unsafe=False, **how)
        (place / part.file).write_bytes((ROOT / part.file).read_bytes())
        leave_out_what_is_ignored(place)
        old = commit_all(repository, f"Files of {version}")
        version = target
        how["data"] = answers | changed
        copier.run_update(place, vcs_ref=version, quiet=True, unsafe=False, **how)
    except (CopierError, ValueError, OSError) as error:
        why = (getattr(error, "stderr", "") or str(error)).strip().partition("\n")[0].strip()
        raise UpdateError(
            f"Nothing was changed: version {version} of {part.source} does not take what {part.file} records. {why}\n"
            f"If an answer or _commit there is wrong, write another one, commit, {AGAIN}"
        ) from None
    stored = yaml.safe_load((place / part.file).read_text(encoding="utf-8"))
    if unknown := changed.keys() - stored.keys():
        raise UpdateError(f"Nothing was changed: version {version} has no answer {join_paths(unknown)}.")
    settings = "".join(f", {name}={value}" for name, value in changed.items())
    title = f"Update {part.name} from {part.version} to {stored['_commit']}{settings}"
    update = Update(title, repository, old, commit_all(repository, title))
    return update if changed_paths(update) else None


def leave_out_what_is_ignored(place: Path) -> None:
    """A file that the owner took out of git, but kept, would be overwritten by the template's changes to it."""
    tracked = set(nul_separated(git("ls-files", "-z")))
    for path in list(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_file() and name not in tracked and (ROOT / name).exists():
            path.unlink()


def commit_all(repository: Path, message: str) -> str:
    # Not with the hooks, the signature and the name that the owner may have set for every repository.
    settings = ("-c", f"core.hooksPath={os.devnull}", "-c", "commit.gpgSign=false")
    author = ("-c", "user.name=update.py", "-c", "user.email=update.py@localhost")
    git("init", "--quiet", at=repository)
    git("add", "--all", "--force", at=repository)
    git(*settings, *author, "commit", "--quiet", "--allow-empty", "--message", message, at=repository)
    return git("rev-parse", "HEAD", at=repository).strip()


def changed_paths(update: Update, *options: str) -> list[str]:
    return nul_separated(git("diff", "--name-only", "-z", *options, update.old, update.new, at=update.repository))


def check_ignored(update: Update) -> None:
    """A file that git ignores is overwritten by git, and nowhere else."""
    top = Path(git("rev-parse", "--show-toplevel").removesuffix("\n"))
    tracked = nul_separated(git("ls-files", "--full-name", "-z"))
    added = set(changed_paths(update, "--no-renames", "--diff-filter=A")) - set(tracked)
    if there := [path for path in added if (top / path).exists()]:
        raise UpdateError(f"Nothing was changed: the template adds {join_paths(there)}, which git ignores. Move yours.")


def apply(update: Update) -> None:
    git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(update.repository), "HEAD")
    # Edits follow a file that moved; but a file of the owner's stays where it is when the template moves those beside
    # it. Conflicts are never resolved silently.
    settings = ("-c", "merge.renames=true", "-c", "merge.directoryRenames=false", "-c", "rerere.enabled=false")
    pick = ("cherry-pick", "--no-commit", "-Xignore-cr-at-eol", update.new)
    try:
        git(*settings, *pick, error="The update cannot be picked.")
    except UpdateError:
        if not unmerged():
            raise
        leave_out_what_is_deleted()
        merge_dependencies()
    if files := unmerged():
        advice = [f"  {path}: {advise(stages)}" for path, stages in sorted(files.items())]
        after = f"After that: git commit, {AGAIN} {BACK}"
        raise UpdateError("\n".join(["Your edits and the template's are both there, and need you:", *advice, after]))
    failed = f"The commit failed; the update is staged, nothing is lost. Fix that, git add, git commit, {AGAIN} {BACK}"
    git("commit", "--quiet", "--message", update.title, error=failed)


def advise(stages: set[str]) -> str:
    if stages >= {"2", "3"}:
        return "both changed it; edit what is between <<<<<<< and >>>>>>>, then git add"
    if len(stages) == 1:
        return "both moved it, to different places; git add the one that you keep, git rm the others"
    return "you edited or moved it, the template removed it; git add keeps it, git rm removes it"


def leave_out_what_is_deleted() -> None:
    """A file that the owner deleted stays deleted, also when the template changed it. A moved file is not deleted."""
    for path, stages in sorted(unmerged().items()):
        if stages == {"1", "3"}:
            git("rm", "--quiet", "--force", "--", f":(literal){path}")
            print(f"  {path}: you removed it; it stays removed", flush=True)


def merge_dependencies() -> None:
    """Resolves a conflict of `uv add` beside a version that the template changed: pyproject.toml, requirements only."""
    file = ROOT / "pyproject.toml"
    if not git("ls-files", "--unmerged", "--", file.name):
        return
    conflicted = file.read_bytes()
    git("checkout", "--quiet", "--conflict=diff3", "--", file.name)
    conflict = r"^<{7} .*\n((?:.*\n)*?)\|{7} .*\n((?:.*\n)*?)={7}\n((?:.*\n)*?)>{7} .*\n"
    text = re.sub(conflict, merge_requirements, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        file.write_bytes(conflicted)
    else:
        file.write_text(text, encoding="utf-8", newline="\n")
        git("add", "--", file.name)


def merge_requirements(conflict: re.Match[str]) -> str:
    """One conflict merged by the names of the packages, or left as it is."""
    ours, base, theirs = (requirements(side) for side in conflict.groups())
    if ours is None or base is None or theirs is None:
        return conflict[0]
    merged = ""
    for name in sorted(ours.keys() | theirs.keys()):
        mine, before, newer = ours.get(name), base.get(name), theirs.get(name)
        if mine != newer and before not in (mine, newer):
            return conflict[0]
        merged += (newer if mine == before else mine) or ""
    return merged


def requirements(lines: str) -> dict[str, str] | None:
    """Each requirement by its package's name, with the comments above it; nothing if there are other lines."""
    found = {}
    comments = ""
    for line in lines.splitlines():
        match = re.fullmatch(r'(\s*"([A-Za-z0-9][\w.-]*)[^"\\]*"),?(\s*(?:#.*)?)', line)
        if line.lstrip().startswith("#"):
            comments += f"{line}\n"
        elif match and (name := re.sub(r"[-_.]+", "-", match[2]).lower()) not in found:
            found[name] = f"{comments}{match[1]},{match[3]}\n"
            comments = ""
        else:
            return None
    return None if comments else found


def git(*arguments: str, at: Path = ROOT, error: str = "Git failed.") -> str:
    command = ["git", *arguments]
    try:  # without a shell
        done = subprocess.run(command, cwd=at, capture_output=True, encoding="utf-8", errors="surrogateescape")  # noqa: S603
    except FileNotFoundError:
        raise UpdateError(f"An update needs git. Install it, {AGAIN}") from None
    if done.returncode:
        raise UpdateError(f"{error}\nGit says: {(done.stderr + done.stdout).strip()}")
    return done.stdout


def unmerged() -> dict[str, set[str]]:
    """Each file in conflict, with those that have it: 1 the old version, 2 the owner, 3 the newer version."""
    files: dict[str, set[str]] = {}
    for entry in nul_separated(git("ls-files", "--unmerged", "-z", ":/")):
        found, _, path = entry.partition("\t")
        files.setdefault(path, set()).add(found[-1])
    return files


def nul_separated(output: str) -> list[str]:
    return output.split("\0")[:-1]


def join_paths(files: Iterable[str]) -> str:
    first, *rest = sorted(files)
    return f"{first} and {len(rest)} more" if len(rest) > 4 else ", ".join([first, *rest])
