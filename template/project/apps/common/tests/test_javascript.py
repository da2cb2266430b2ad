"""The imports and endpoints that the checks find in a JavaScript file."""

import pytest

from apps.common.checks import javascript
from apps.common.checks.javascript import PLACEHOLDER


def imports(source):
    return [literal.text for literal in javascript.imports(source)]


def endpoints(source):
    return [literal.text for literal in javascript.endpoints(source)]


@pytest.mark.parametrize(
    "source",
    [
        "import 'x'",
        'import "x";',
        "import'x'",
        "import a from 'x'",
        "import a, { b as c, default as d } from 'x'",
        "import a, * as b from 'x'",
        "import {\n    a, // the first\n    b,\n} from 'x';",
        "import { 'a-b' as c } from 'x'",
        "import { from, as } from 'x'",
        "import from from 'x'",
        "import data from 'x' with { type: 'json' }",
        "export * from 'x'",
        "export * as a from 'x'",
        "export { a, b as default } from 'x'",
        "const a = await import('x')",
        "import( /* lazily */ `x` ).then(start)",
        "import('x', { with: { type: 'json' } })",
        "const text = `${await import('x')}`",
        "const text = `${`${{ a: 1 }}`} ${import('x')}`",
        "const half = a / 2; import('x'); const third = a / 3",
        "const quote = /['\"`]/; import('x')",
        "const slash = /[/]'/.test(a) || import('x')",
        "return /'/.test(a) ? import('x') : 0",
    ],
)
def test_finds_an_import(source):
    assert imports(source) == ["x"]


@pytest.mark.parametrize(
    "source",
    [
        "// import 'x'",
        "/* import 'x' */",
        "/** @typedef {import('x').Options} Options */",
        "const text = \"import 'x'\"",
        "const text = 'it\\'s'; // import 'x'",
        "const text = `import 'x'`",
        "const text = `${a} import 'x'`",
        "const pattern = /import 'x'/",
        "loader.import('x')",
        "import(path)",
        "import('x' + name)",
        "import(`${name}/x`)",
        "import.meta.resolve('x')",
        "export const from = 'x'",
        "export { a }; const from = 'x'",
        "Array.from('x')",
        "({ import: 'x' })",
    ],
)
def test_finds_no_import(source):
    assert imports(source) == []


def test_finds_all_imports_in_order_with_their_lines():
    source = "import a from '1'\nimport '2'\n\nexport { a }\nimport {\n    b,\n} from '3'\n/*\n*/ import('4')"
    assert [(literal.text, literal.line) for literal in javascript.imports(source)] == [
        ("1", 1),
        ("2", 2),
        ("3", 7),
        ("4", 9),
    ]


@pytest.mark.parametrize("source", ["const a = 'open", "`open ${", "`open", "`open \\", "/* open", "}", "/", "'\\"])
def test_survives_what_is_no_javascript(source):
    assert imports(f"import 'x';\n{source}") == ["x"]


@pytest.mark.parametrize(
    "source",
    [
        "super({ endpoint: `/ws/a/${id}/` })",
        "super({ endpoint: () => `/ws/a/${id()}/` })",
        "super({ endpoint: async () => `/ws/a/${await id({ fresh: true })}/` })",
        "endpoint = `/ws/a/${`${id}`}/`;",
    ],
)
def test_finds_an_endpoint(source):
    assert endpoints(source) == [f"/ws/a/{PLACEHOLDER}/"]


@pytest.mark.parametrize("source", ["// endpoint: '/ws/a/'", "const a = \"endpoint: '/ws/a/'\"", "endpoint('/ws/a/')"])
def test_finds_no_endpoint(source):
    assert endpoints(source) == []
