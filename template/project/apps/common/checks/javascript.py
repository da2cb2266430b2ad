"""Reads what a JavaScript file imports, and where it connects to.

It recognises comments, strings, templates and regular expressions, since each may contain what looks like an import,
and no more of the language.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

PLACEHOLDER = "\0"  # stands in a template's text for ${…}


@dataclass(frozen=True)
class Literal:
    """A string, or a template."""

    text: str
    line: int


def imports(source: str) -> Iterator[Literal]:
    """The imported modules: import …, import('…') and export … from."""
    return (literal for literal in _find(IMPORT, source) if PLACEHOLDER not in literal.text)


def endpoints(source: str) -> Iterator[Literal]:
    """The endpoints: `endpoint: '…'`, `endpoint = '…'`, `endpoint: () => '…'`."""
    return _find(ENDPOINT, source)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int


# Statements are found in the file's shape: one letter for each token; n is any name but those of SHAPES.
SHAPES = {"import": "i", "export": "e", "from": "f", "endpoint": "p"}
NAME = "[niefp]"
IMPORT = re.compile(
    rf"""
    (?<!\.)
    (?: i                                                   # import 'x'
    |   i{NAME}*,?(?: \*{NAME}{{2}} | {{[^}}]*}} )?f        # import a, * as b from 'x', import {{ c }} from 'x'
    |   e(?: \*(?:{NAME}{{2}})? | {{[^}}]*}} )f             # export * as a from 'x', export {{ b }} from 'x'
    |   i\((?= [st][,)] )                                   # import('x')
    )
    (?P<literal>[st])
    """,
    re.VERBOSE,
)
ENDPOINT = re.compile(r"p[:=](?:n?\(\)=>)?(?P<literal>[st])")


def _find(statement: re.Pattern[str], source: str) -> Iterator[Literal]:
    tokens = _Lexer(source).tokens()
    shape = "".join(map(_shape, tokens))
    for match in statement.finditer(shape):
        token = tokens[match.start("literal")]
        yield Literal(token.text, source.count("\n", 0, token.start) + 1)


def _shape(token: _Token) -> str:
    if token.kind == "name":
        return SHAPES.get(token.text, "n")
    return token.text if token.kind == "mark" else token.kind[0]


TOKEN = re.compile(
    r"""
    (?P<gap> \s+ | //[^\n]* | /\*.*?\*/ )
    | '(?P<single> (?:\\.|[^'\\\n])* )'
    | "(?P<double> (?:\\.|[^"\\\n])* )"
    | (?P<name> [\w$#]+ )
    | (?P<regex> / (?: \\. | \[(?:\\.|[^\]\\\n])*\] | [^/\\\n\[] )+ / )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)
TEMPLATE = re.compile(r"((?:\\.|\$(?!{)|[^`\\$])*)(`|\${|\\?\Z)", re.DOTALL)
# A slash behind one of these begins a regular expression; behind any other name it divides.
OPERATORS = {"await", "case", "delete", "do", "else", "in", "instanceof", "new", "of", "return", "throw", "typeof"}
OPERATORS |= {"void", "yield"}


class _Lexer:
    def __init__(self, source: str) -> None:
        self._source = source
        self._position = 0
        self._tokens: list[_Token] = []

    def tokens(self) -> list[_Token]:
        """All but white space and comments. The code in a template's ${…} follows the template."""
        while self._position < len(self._source):
            self._read()
        return self._tokens

    def _read(self) -> None:
        """To the end, or behind the brace that ends a template's ${…}."""
        depth = 0
        while depth >= 0 and (match := TOKEN.match(self._source, self._position)):
            start, self._position = match.span()
            kind = str(match.lastgroup)
            if kind == "regex" and self._is_behind_operand():
                kind, self._position = "mark", start + 1
            if kind in ("single", "double"):
                self._add("string", match[kind], start)
            elif kind == "mark" and self._source[start] == "`":
                self._read_template(start)
            elif kind != "gap":
                text = self._source[start : self._position]
                self._add(kind, text, start)
                depth += (text == "{") - (text == "}")

    def _read_template(self, start: int) -> None:
        index, text = len(self._tokens), ""
        self._add("template", text, start)
        while match := TEMPLATE.match(self._source, self._position):
            self._position = match.end()
            text += match[1]
            if match[2] != "${":
                break
            text += PLACEHOLDER
            self._read()
        self._tokens[index] = _Token("template", text, start)

    def _add(self, kind: str, text: str, start: int) -> None:
        self._tokens.append(_Token(kind, text, start))

    def _is_behind_operand(self) -> bool:
        last = self._tokens[-1] if self._tokens else _Token("mark", ";", 0)
        if last.kind == "name":
            return last.text not in OPERATORS
        return last.kind != "mark" or last.text in ")]}"
