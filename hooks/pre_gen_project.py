"""Refuses a folder outside of Cookiecutter's output folder. Cookiecutter then removes it again."""

import json
import sys
from pathlib import Path

# Cookiecutter fills this in, as in post_gen_project.py.
folder = json.loads(r"""{{ cookiecutter | tojson }}""")["project_slug"]

if Path(folder).name != folder:
    sys.exit(f"project_slug {folder!r} is a path. Give the name of a folder; --output-dir says where it shall lie.")
