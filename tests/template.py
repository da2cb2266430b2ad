"""The template as a repository with tags, and the ways to make projects from it."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import copier
import jinja2
from copier._main import Worker

ROOT = Path(__file__).resolve().parent.parent
# Far more than is needed: a test that hangs should end by itself, one on a slow machine should not.
TIMEOUT_SECONDS = 900
# The features of most tests
PLACE_ORDER = "place_order item:str:200 quantity:int:1:99 event=order_placed"
ORDER_FEATURE = {"actions": f"{PLACE_ORDER}, cancel_order id:int event=order_cancelled"}
CHAT_FEATURE = {"access": "public", "actions": "send_line text:str:500 event=line_sent"}
GIT_IDENTITY = {
    f"GIT_{role}_{field}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
}


_compile: Any = jinja2.Environment.compile
_compiled: dict[tuple[object, ...], Any] = {}


def compile_once(self: jinja2.Environment, source: Any, name: str | None = None, *more: Any, **options: Any) -> Any:
    """For each copy Copier compiles the same few texts some thousand times; it takes longer than all the rest."""
    if options or not isinstance(source, str):
        return _compile(self, source, name, *more, **options)
    self.preprocess(source, name)  # for what an extension does there
    language = (type(self), self.lexer, *map(frozenset, (self.extensions, self.filters, self.tests)))
    key = (language, source, name)
    if key not in _compiled:
        _compiled[key] = _compile(self, source, name, *more)
    return _compiled[key]


jinja2.Environment.compile = compile_once  # type: ignore[method-assign]
# For each file Copier runs git to ask whether file modes are ignored here, which they are not: a quarter of its time.
setattr(Worker, "_sync_git_index_executable_bit", lambda *arguments: None)  # noqa: B010


@dataclass(frozen=True)
class Template:
    """A clone of this repository, in which tests may commit and tag."""

    path: Path

    def project(self, destination: Path, **answers: object) -> Path:
        self.copy(destination, answers)
        return destination

    def feature(self, name: str, project: Path, **answers: object) -> Path:
        self.copy(project, {"feature": name, **answers})
        return project / "apps" / name

    def copy(self, destination: Path, answers: Mapping[str, object]) -> None:
        """The same as `copier copy --defaults`, without `--trust`."""
        copier.run_copy(str(self.path), destination, data=dict(answers), defaults=True, quiet=True, unsafe=False)

    def release(self, tag: str) -> None:
        commit(self.path)
        git(self.path, "tag", tag)


def clone_work_tree(destination: Path) -> Template:
    """Copies this checkout as it is, committed or not, into a repository of its own."""
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # one that was deleted here is listed still
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, destination / name)
    git(destination, "init", "--quiet")
    template = Template(destination)
    template.release("1.0.0")
    return template


def run(directory: Path, *command: str | Path, succeed: bool = True, **environment: str) -> str:
    """Runs a command and returns all it printed, stdout and stderr as they came."""
    own = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env={**own, **GIT_IDENTITY, "NO_COLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if succeed:
        assert done.returncode == 0, f"{' '.join(map(str, command))} exited {done.returncode}:\n{done.stdout}"
    else:
        assert done.returncode != 0, f"{' '.join(map(str, command))} succeeded:\n{done.stdout}"
    return without_colours(done.stdout)


def apt_install(*packages: str) -> None:
    """Install packages as root on Debian; without effect elsewhere. One process at a time, since apt has locks."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")  # with which no service is started
    with Path(tempfile.gettempdir(), "copier-django-channels-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(Path("/"), *quiet, "apt-get", "update", "-qq")
        options = ("-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
        run(Path("/"), *quiet, "apt-get", "install", *options, *packages)


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def git(repository: Path, *arguments: str) -> str:
    return run(repository, "git", *arguments)


def commit(repository: Path) -> None:
    """Commits everything, in a repository that is made if there is none."""
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "x")


def edit(path: Path, *, top: str = "", end: str = "") -> None:
    path.write_text(top + path.read_text() + end)


def changes(project: Path) -> set[str]:
    """The differences from the last commit: {"M manage.py", "?? new.txt"}."""
    return set(git(project, "status", "--short", "--untracked-files=all").replace(" M ", "M ").splitlines())


def paths(directory: Path) -> list[str]:
    """Every file below a folder, but for what git, tools and caches keep."""
    kept = {".git", ".venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
    files = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not kept & set(path.parts))


def snapshot(directory: Path) -> dict[str, str]:
    """Every path below a folder with its kind, mode and content, to be compared with a later one."""
    return {path.relative_to(directory).as_posix(): _fingerprint(path) for path in sorted(directory.rglob("*"))}


def _fingerprint(path: Path) -> str:
    mode = oct(path.lstat().st_mode)
    return f"{mode} {sha256(path.read_bytes()).hexdigest()}" if path.is_file() else mode
