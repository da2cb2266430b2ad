"""Plain technical English in everything that is committed: tests/words.txt lists the words that are not used."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.template import ROOT, git

WORDS = ROOT / "tests/words.txt"
# The list itself; features of releases, which stay as they were; a table of old names.
NOT_READ = ("tests/words.txt", "tests/updates/released/", "docs/updating-to-1.0.md")
LINE_BREAK = r"(?:[ \t]+|[ \t]*\n[ \t]*(?:(?:\#|//|\*|>)[ \t]+)?)"


@dataclass(frozen=True)
class Word:
    """A line of the list."""

    pattern: str
    replacement: str
    example: str

    def found_in(self, text: str) -> Iterator[re.Match[str]]:
        return compiled(self.pattern).finditer(text)


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A space also finds the end of a line, as texts are wrapped; but not in a lookbehind, which has a fixed width."""
    parts = re.split(r"(\(\?<[!=][^)]*\))", pattern)
    return re.compile(
        "".join(part if part.startswith("(?<") else part.replace(" ", LINE_BREAK) for part in parts), re.M
    )


def words() -> list[Word]:
    lines = WORDS.read_text(encoding="utf-8").splitlines()
    return [Word(*line.split("\t")) for line in lines if line and not line.startswith("# ")]


def committed() -> list[str]:
    tracked = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    return [path for path in tracked if path and not path.startswith(NOT_READ) and (ROOT / path).is_file()]


def text_of(path: str) -> str:
    """Its path and its content, of a picture the path alone; the names of tests as the sentences that they are."""
    try:
        text = f"{path}\n{(ROOT / path).read_text(encoding='utf-8')}"
    except UnicodeDecodeError:
        return path
    return re.sub(r"\btest_\w+", lambda name: name[0].replace("_", " "), text)


def places(word: Word, path: str, text: str) -> Iterator[str]:
    """Line 0 is the file's name."""
    for match in word.found_in(text):
        found = " ".join(match[0].split())
        yield f"{path}:{text.count(chr(10), 0, match.start())}: {found!r}, rather: {word.replacement}"


def violations() -> list[str]:
    texts = {path: text_of(path) for path in committed()}
    return [place for path, text in texts.items() for word in words() for place in places(word, path, text)]


def test_no_word_of_the_list_is_committed() -> None:
    found = violations()
    assert not found, "\n".join([f"{len(found)} places:", *found])


@pytest.mark.parametrize("word", words(), ids=lambda word: word.pattern)
def test_the_list_finds(word: Word) -> None:
    assert list(word.found_in(word.example))


def test_words_are_found_across_lines_and_in_names(tmp_path: Path) -> None:
    word = Word(r"\bodd words\b", "plain words", "")
    path = tmp_path / "test_odd_words.py"
    path.write_text("# Several odd\n    # words.\ndef test_odd_words_too(): ...\n")
    found = [place.removeprefix(f"{path}:") for place in places(word, str(path), text_of(str(path)))]
    rather = "rather: plain words"
    assert found == [f"0: 'odd words', {rather}", f"1: 'odd # words', {rather}", f"3: 'odd words', {rather}"]


def test_each_line_of_the_list_has_a_replacement_and_is_there_once() -> None:
    patterns = [word.pattern for word in words()]
    assert len(patterns) > 60
    assert len(set(patterns)) == len(patterns)
    assert [word for word in words() if not word.replacement.strip()] == []


def test_code_and_pages_are_read() -> None:
    assert {Path(path).suffix for path in committed()} >= {".py", ".js", ".md", ".html", ".jinja", ".yml"}


if __name__ == "__main__":
    print("\n".join(violations()))
