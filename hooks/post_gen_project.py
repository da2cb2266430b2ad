"""Cookiecutter has asked; Copier makes the project, so that it is the same and can be updated."""

import json
import sys
from pathlib import Path

# Cookiecutter fills this in. A raw string: the JSON's own escapes stay as they are, and it has no single quote.
context = json.loads(r"""{{ cookiecutter | tojson }}""")
template, version = context["_template"], context.get("_checkout")
answers = {name: context[name] for name in ("project_name", "description", "author", "github", "docker")}

try:
    import copier
except ModuleNotFoundError:
    sys.exit(
        "This template needs Copier beside Cookiecutter, in the same environment. Install it (pip install copier) and\n"
        f"repeat the command, or use Copier alone: copier copy {template} {context['project_slug']}"
    )

# The project remembers where it comes from. A relative path would mean another folder there.
if ":" not in template and not Path(template).is_absolute():
    sys.exit(
        f"{template} is a relative path, which the project could not find again. Give its full path or its address,\n"
        f"or use Copier alone: copier copy {template} {context['project_slug']}"
    )

Path(".gitkeep").unlink()
try:
    # Its last words name the folder, and "." would be this hook's.
    copier.run_copy(template, Path.cwd(), vcs_ref=version, data=answers, defaults=True)
except (copier.errors.CopierError, ValueError) as error:
    sys.exit(f"Copier refused: {error}")
