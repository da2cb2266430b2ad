"""A Django project that was not made here takes the common part: the page of instructions is what is tested."""

import re
import shutil
from pathlib import Path

import copier
import pytest

from tests.conftest import Shared, Tools
from tests.template import ROOT, Template, commit, git, paths, run, snapshot

ANSWERS = ".copier-answers.channels.yml"
PAGE = "docs/existing-project.md"


@pytest.fixture
def mysite(tools: Tools, shared: Shared, tmp_path: Path) -> Path:
    """A project as `django-admin startproject mysite .` makes it."""

    def make(project: Path) -> None:
        project.mkdir()
        run(project, tools.home / ".venv/bin/django-admin", "startproject", "mysite", ".")

    return Path(shutil.copytree(shared.once("mysite", make), tmp_path / "mysite"))


@pytest.fixture
def split(tools: Tools, shared: Shared, tmp_path: Path) -> Path:
    """A project as cookiecutter-django makes them: settings for each purpose, apps in a package of the project's name,
    a user model and a base template of its own, and no asgi.py."""

    def make(project: Path) -> None:
        for path, text in SPLIT.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(text)
        run(project, tools.home / ".venv/bin/python", "manage.py", "makemigrations", "users")

    return Path(shutil.copytree(shared.once("split", make), tmp_path / "split"))


def take_common_part(template: Template, project: Path) -> None:
    template.copy(project, {"existing": True})


def blocks(project: Path, heading: str, language: str = "python") -> list[str]:
    """The code below a heading of the instructions."""
    page = (project / PAGE).read_text(encoding="utf-8")
    [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", section, re.M | re.S)
    assert found, f"{heading} has no code"
    return found


def append(path: Path, *code: str) -> None:
    before = path.read_text() if path.exists() else ""
    path.write_text("\n".join([before, *code]))


def complaints(project: Path, tools: Tools) -> set[str]:
    """The ids of what `manage.py check` finds."""
    printed = tools.run(project, "sh", "-c", "python manage.py check || true")
    assert "System check identified" in printed, printed
    return set(re.findall(r"\((\w+\.[EW]\d+)\)", printed))


def counted_passed(printed: str) -> int:
    [count] = re.findall(r"(\d+) passed", printed)
    return int(count)


def add_feature(project: Path, tools: Tools, *options: str) -> None:
    commit(project)
    tools.run(project, "python", "manage.py", "startfeature", "orders", *options)


def live_page(project: Path, tools: Tools) -> str:
    """The page that a visitor gets, after all redirects."""
    visit = "Client(headers={'host': 'localhost'}).get('/orders/demo/', follow=True).content.decode()"
    tools.run(project, "python", "manage.py", "migrate", "--verbosity", "0")
    return tools.run(project, "python", "manage.py", "shell", "-c", f"from django.test import Client; print({visit})")


# ----------------------------------------------------------------------------------------------------------------------
# The files of a copy, and where it is refused
# ----------------------------------------------------------------------------------------------------------------------


# Files that would replace templates, or a command, of the project's own.
LEFT_OUT = {
    "apps/common/management/commands/startapp.py",
    *(
        f"apps/users/{name}.py"
        for name in ("__init__", "admin", "models", "migrations/__init__", "migrations/0001_initial")
    ),
} | {
    f"apps/common/management/app_template/{name}.py-tpl"
    for name in (
        "__init__",
        "apps",
        "migrations/__init__",
        "models",
    )
}


def test_the_common_part_is_all_that_comes(template: Template, mysite: Path, plain: Path) -> None:
    before = snapshot(mysite)
    take_common_part(template, mysite)
    expected = {path for path in paths(plain) if path.startswith(("apps/", "docs/", "update.py"))}
    expected = expected - LEFT_OUT | {"apps/common/templates/common/live.html"}
    came = snapshot(mysite)
    assert set(paths(mysite)) - set(before) == expected | {ANSWERS, PAGE}
    assert {path: came[path] for path in before} == before


def test_every_file_of_the_common_part_is_the_same(template: Template, mysite: Path, plain: Path) -> None:
    take_common_part(template, mysite)
    files = [path for path in paths(mysite) if path.startswith("apps/common/") and "live.html" not in path]
    assert len(files) > 70
    assert [path for path in files if (mysite / path).read_bytes() != (plain / path).read_bytes()] == []


def test_a_generated_project_has_no_such_instructions(cafe: Path) -> None:
    assert not (cafe / PAGE).exists()
    assert (cafe / "templates/base.html").is_file()


def test_files_that_were_there_stay(template: Template, mysite: Path) -> None:
    for path in ("apps/__init__.py", "update.py", PAGE):
        (mysite / path).parent.mkdir(exist_ok=True)
        (mysite / path).write_text("# mine\n")
    take_common_part(template, mysite)
    assert {(mysite / path).read_text() for path in ("apps/__init__.py", "update.py", PAGE)} == {"# mine\n"}


def test_the_answers_of_another_template_stay(template: Template, mysite: Path) -> None:
    theirs = "_src_path: https://example.com/another\n_commit: v7\nproject_name: Theirs\naccess: everybody\n"
    (mysite / ".copier-answers.yml").write_text(theirs)
    take_common_part(template, mysite)
    template.feature("orders", mysite)
    assert (mysite / ".copier-answers.yml").read_text() == theirs
    for answers in (mysite / ANSWERS, mysite / "apps/orders/.copier-answers.yml"):
        assert f"_src_path: {template.path}\n" in answers.read_text()
        assert "Theirs" not in answers.read_text()


REFUSALS = {
    "no project": ([], "there is no Django project in this folder: it has no manage.py"),
    "an apps/common": (["manage.py", "apps/common/models.py"], "there is an apps/common already"),
}


@pytest.mark.parametrize("place", REFUSALS)
def test_a_place_that_does_not_fit_is_refused(place: str, template: Template, tmp_path: Path) -> None:
    files, reason = REFUSALS[place]
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    with pytest.raises(ValueError, match=reason):
        take_common_part(template, folder)
    assert paths(folder) == sorted(files)


def test_a_generated_project_is_refused(template: Template, plain: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    before = snapshot(project)
    with pytest.raises(ValueError, match="this folder is a generated project: it has the common part"):
        take_common_part(template, project)
    assert snapshot(project) == before


def test_a_second_copy_is_refused(template: Template, mysite: Path) -> None:
    take_common_part(template, mysite)
    before = snapshot(mysite)
    for answers in ({"existing": True}, {"feture": "orders"}, {}):
        with pytest.raises(ValueError, match=r"has the common part already\. To add a feature: .+ python update\.py"):
            template.copy(mysite, answers)
    assert snapshot(mysite) == before


def test_a_feature_needs_the_common_part(template: Template, mysite: Path) -> None:
    before = snapshot(mysite)
    with pytest.raises(ValueError, match="copier copy -d existing=true TEMPLATE"):
        template.feature("orders", mysite)
    assert snapshot(mysite) == before


def test_the_last_words_name_the_instructions(template: Template, mysite: Path) -> None:
    printed = run(mysite, "copier", "copy", "--defaults", "-d", "existing=true", template.path, ".")
    assert PAGE in printed
    assert "manage.py check         after the first block of Settings, names each place" in printed


# ----------------------------------------------------------------------------------------------------------------------
# The instructions
# ----------------------------------------------------------------------------------------------------------------------


def test_each_place_is_named_until_it_is_edited(template: Template, mysite: Path, tools: Tools) -> None:
    take_common_part(template, mysite)
    settings, asgi, urls = (mysite / f"mysite/{name}.py" for name in ("settings", "asgi", "urls"))
    installed, application, layer, login = blocks(mysite, "2. Settings")
    append(settings, installed)
    assert complaints(mysite, tools) == {"common.E005", "common.E007", "common.E008"}
    append(settings, application)
    assert complaints(mysite, tools) == {"common.E006", "common.E007", "common.E008"}
    append(settings, layer)
    assert complaints(mysite, tools) == {"common.E006"}
    append(asgi, blocks(mysite, "3. asgi.py")[-1])
    assert complaints(mysite, tools) == set()
    add_feature(mysite, tools)
    assert complaints(mysite, tools) == {"common.W004", "common.W006"}
    append(settings, login)
    assert complaints(mysite, tools) == {"common.W004"}
    append(urls, *blocks(mysite, "4. urls.py"))
    assert complaints(mysite, tools) == set()


def test_a_feature_that_is_left_out_is_named(template: Template, mysite: Path, tools: Tools) -> None:
    take_common_part(template, mysite)
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    add_feature(mysite, tools)
    settings, asgi = mysite / "mysite/settings.py", mysite / "mysite/asgi.py"
    settings.write_text(settings.read_text().replace(", *local_apps(already_installed=INSTALLED_APPS)]", "]"))
    assert complaints(mysite, tools) == {"common.E009"}
    append(settings, 'INSTALLED_APPS += ["apps.orders"]')
    asgi.write_text(asgi.read_text().replace("*websocket_urlpatterns(), ", ""))
    assert complaints(mysite, tools) == {"common.E003", "common.E010"}


def test_a_runserver_without_websockets_is_named(template: Template, mysite: Path, tools: Tools) -> None:
    take_common_part(template, mysite)
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    append(mysite / "mysite/settings.py", "INSTALLED_APPS = [*INSTALLED_APPS[1:], 'apps.common']")
    assert complaints(mysite, tools) == {"common.E004"}


def test_apps_that_are_listed_already_are_not_listed_twice(template: Template, mysite: Path, tools: Tools) -> None:
    for app in ("billing", "users"):
        (mysite / "apps" / app).mkdir(parents=True)
        (mysite / "apps" / app / "__init__.py").touch()
    take_common_part(template, mysite)
    append(mysite / "mysite/settings.py", "INSTALLED_APPS += ['apps.users']")
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    listed = "from django.conf import settings; print(*settings.INSTALLED_APPS)"
    apps = tools.run(mysite, "python", "manage.py", "shell", "-c", listed).split()
    assert apps[-2:] == ["apps.users", "apps.billing"]


def test_apps_that_are_imported_without_apps_are_not_listed_twice(
    template: Template, mysite: Path, tools: Tools
) -> None:
    (mysite / "apps/users").mkdir(parents=True)
    for name in ("__init__", "routing"):
        (mysite / f"apps/users/{name}.py").touch()
    take_common_part(template, mysite)
    on_path = 'import sys\nsys.path.insert(0, str(BASE_DIR / "apps"))\nINSTALLED_APPS += ["users"]'
    append(mysite / "mysite/settings.py", on_path)
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    add_feature(mysite, tools)
    assert complaints(mysite, tools) == set()


def test_a_new_project_gets_a_feature_that_works(template: Template, mysite: Path, tools: Tools) -> None:
    take_common_part(template, mysite)
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    add_feature(mysite, tools)
    assert complaints(mysite, tools) == set()
    append(mysite / "pyproject.toml", *blocks(mysite, "5. Tests", "toml"))
    assert counted_passed(tools.run(mysite, "python", "-m", "pytest", "-q")) >= 5


def test_who_opens_the_first_page_of_a_new_project_is_asked_to_log_in(
    template: Template, mysite: Path, tools: Tools
) -> None:
    take_common_part(template, mysite)
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    add_feature(mysite, tools)
    assert "<title>Log in | Django site admin</title>" in live_page(mysite, tools)


def test_who_opens_a_public_page_of_a_new_project_sees_it(template: Template, mysite: Path, tools: Tools) -> None:
    take_common_part(template, mysite)
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    add_feature(mysite, tools, "--access", "public")
    page = live_page(mysite, tools)
    assert '<script type="importmap">' in page
    assert "<title>Orders · localhost</title>" in page


def test_a_static_file_of_the_projects_that_has_a_path_of_the_common_part_is_served(
    template: Template, mysite: Path, tools: Tools
) -> None:
    take_common_part(template, mysite)
    follow_instructions(mysite, "mysite/settings.py", "mysite")
    append(mysite / "mysite/settings.py", "INSTALLED_APPS += ['web']")
    for path in ("__init__.py", "static/css/site.css", "static/img/icon.svg"):
        (mysite / "web" / path).parent.mkdir(parents=True, exist_ok=True)
        (mysite / "web" / path).touch()
    found = tools.run(mysite, "python", "manage.py", "findstatic", "css/site.css", "img/icon.svg", "--first")
    assert re.findall(r"^  (\S+)$", found, re.M) == [
        str(mysite / "web/static" / path) for path in ("css/site.css", "img/icon.svg")
    ]
    (mysite / "web/static/js/services/websocket").mkdir(parents=True)
    (mysite / "web/static/js/services/websocket/events.js").touch()
    assert complaints(mysite, tools) == {"common.E011"}


def test_a_split_project_gets_a_feature_that_works(template: Template, split: Path, tools: Tools) -> None:
    take_common_part(template, split)
    follow_instructions(split, "config/settings/base.py", "config")
    add_feature(split, tools)
    assert complaints(split, tools) == set()
    tests_of_the_project = 2
    printed = tools.run(split, "python", "-m", "pytest", "-q", "apps/orders", "my_project")
    assert counted_passed(printed) >= 5 + tests_of_the_project


def test_live_pages_may_have_the_layout_of_the_project(template: Template, split: Path, tools: Tools) -> None:
    take_common_part(template, split)
    follow_instructions(split, "config/settings/base.py", "config")
    add_feature(split, tools, "--access", "public")
    assert "My Project's footer" not in live_page(split, tools)
    (split / "my_project/templates/common").mkdir()
    append(split / "my_project/templates/common/live.html", *blocks(split, "Live pages in your own layout", "html"))
    page = live_page(split, tools)
    assert "<title>Orders · My Project</title>" in page
    assert "My Project's footer" in page
    scripts = [page.index(part) for part in ("importmap", "js/project.js", "orders/js/orders_app.js", "data-websocket")]
    assert scripts == sorted(scripts)


def test_the_places_are_counted(template: Template, mysite: Path) -> None:
    take_common_part(template, mysite)
    page = (mysite / PAGE).read_text(encoding="utf-8")
    assert re.findall(r"^## (\d)\. ", page, re.M) == list("12345")
    assert re.findall(r"\b(\w+) places\b", page) == ["five"]


def test_the_packages_are_those_of_a_generated_project(template: Template, mysite: Path) -> None:
    take_common_part(template, mysite)
    commands, without_uv = blocks(mysite, "1. Packages", "sh")
    assert without_uv == re.sub("uv add( --dev)?", "python -m pip install", commands)
    named = re.findall(r'"(.+?)"', commands)
    metadata = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "0", (ROOT / "template/project/pyproject.toml.jinja").read_text())
    lists = re.findall(r'^    "([^"]+)"', metadata, re.M)
    assert len(named) == 11
    assert [name for name in named if name not in lists] == []


def test_the_settings_of_vitest_are_those_of_a_generated_project(template: Template, mysite: Path, cafe: Path) -> None:
    take_common_part(template, mysite)
    assert blocks(mysite, "What you may add", "js") == [(cafe / "vitest.config.js").read_text()]


def follow_instructions(project: Path, settings: str, package: str) -> None:
    """All that the page says, in a project whose asgi.py and urls.py are in a package."""

    def code(heading: str) -> list[str]:
        return [block.replace("mysite.", f"{package}.") for block in blocks(project, heading)]

    begin, end = code("3. asgi.py")
    asgi = project / package / "asgi.py"
    append(project / settings, *code("2. Settings"))
    append(asgi, *([] if asgi.exists() else [begin]), end)
    append(project / package / "urls.py", *code("4. urls.py"))
    append(project / "conftest.py", *code("5. Tests"))


# ----------------------------------------------------------------------------------------------------------------------
# A newer version
# ----------------------------------------------------------------------------------------------------------------------

PROTOCOL = "apps/common/websockets/protocol.py"


@pytest.fixture
def released(own_template: Template, mysite: Path) -> Path:
    """A project with an edit of its owner's in the common part, for which there is a newer version."""
    take_common_part(own_template, mysite)
    own_template.feature("orders", mysite)
    commit(mysite)
    (mysite / PROTOCOL).write_text("# mine\n" + (mysite / PROTOCOL).read_text())
    (mysite / "apps/common/mine.py").touch()
    commit(mysite)
    newer = own_template.path / "template/project"
    for path in (PROTOCOL, "config/urls.py", "manage.py"):
        (newer / path).write_text((newer / path).read_text() + "# newer\n")
    own_template.release("1.1.0")
    return mysite


def assert_is_updated(project: Path, before: str) -> None:
    text = (project / PROTOCOL).read_text()
    assert text.startswith("# mine\n")
    assert text.endswith("# newer\n")
    changed = set(git(project, "diff", "--name-only", before).split())
    assert changed - {"apps/orders/.copier-answers.yml"} == {ANSWERS, PROTOCOL}
    assert "_commit: 1.1.0\n" in (project / ANSWERS).read_text()
    assert "existing: true\n" in (project / ANSWERS).read_text()


def test_copier_updates_the_common_part(released: Path) -> None:
    before = git(released, "rev-parse", "HEAD").strip()
    copier.run_update(released, answers_file=ANSWERS, defaults=True, overwrite=True, quiet=True, unsafe=False)
    assert_is_updated(released, before)


def test_update_py_updates_the_common_part_and_the_features(released: Path) -> None:
    before = git(released, "rev-parse", "HEAD").strip()
    run(released, "python", "update.py")
    assert_is_updated(released, before)
    assert "_commit: 1.1.0\n" in (released / "apps/orders/.copier-answers.yml").read_text()
    assert git(released, "status", "--short") == ""


# ----------------------------------------------------------------------------------------------------------------------
# A project in the layout of cookiecutter-django
# ----------------------------------------------------------------------------------------------------------------------

SPLIT = {
    "manage.py": """\
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")
    from django.core.management import execute_from_command_line

    sys.path.append(str(Path(__file__).parent.resolve() / "my_project"))
    execute_from_command_line(sys.argv)
""",
    "pyproject.toml": """\
[tool.pytest.ini_options]
addopts = "--ds=config.settings.test --reuse-db --import-mode=importlib --ignore=apps/common"
python_files = ["tests.py", "test_*.py"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
""",
    "config/__init__.py": "",
    "config/settings/__init__.py": "",
    "config/settings/base.py": """\
from pathlib import Path

BASE_DIR = Path(__file__).resolve(strict=True).parent.parent.parent
APPS_DIR = BASE_DIR / "my_project"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DATABASES["default"]["ATOMIC_REQUESTS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DJANGO_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.sites",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.admin",
    "django.forms",
]
LOCAL_APPS = ["my_project.users"]
INSTALLED_APPS = DJANGO_APPS + LOCAL_APPS
SITE_ID = 1
AUTH_USER_MODEL = "users.User"
LOGIN_URL = "account_login"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
STATIC_ROOT = str(BASE_DIR / "staticfiles")
STATIC_URL = "/static/"
STATICFILES_DIRS = [str(APPS_DIR / "static")]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [str(APPS_DIR / "templates")],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
USE_TZ = True
""",
    "config/settings/local.py": """\
from .base import *
from .base import INSTALLED_APPS

DEBUG = True
SECRET_KEY = "local"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
INSTALLED_APPS = ["whitenoise.runserver_nostatic", *INSTALLED_APPS]
""",
    "config/settings/test.py": """\
from .base import *
from .base import TEMPLATES

SECRET_KEY = "test"
TEMPLATES[0]["OPTIONS"]["debug"] = True
""",
    "config/urls.py": """\
from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="pages/home.html"), name="home"),
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(), name="account_login"),
    *static("/media/", document_root=settings.BASE_DIR),
]
""",
    "my_project/__init__.py": "",
    "my_project/conftest.py": """\
import pytest

from my_project.users.models import User


@pytest.fixture
def user(db) -> User:
    return User.objects.create_user(username="owner", name="The owner")
""",
    "my_project/users/__init__.py": "",
    "my_project/users/apps.py": """\
from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "my_project.users"
""",
    "my_project/users/models.py": """\
from django.contrib.auth.models import AbstractUser
from django.db.models import CharField


class User(AbstractUser):
    name = CharField("Name of User", blank=True, max_length=255)
    first_name = None
    last_name = None
""",
    "my_project/users/migrations/__init__.py": "",
    "my_project/users/tests/__init__.py": "",
    "my_project/users/tests/test_pages.py": """\
def test_the_home_page_is_mine(client, db):
    assert b"My Project's home" in client.get("/").content


def test_a_user_has_a_name(user):
    assert user.name == "The owner"
""",
    "my_project/static/js/project.js": "/* Project specific Javascript goes here. */\n",
    "my_project/templates/base.html": """\
{% load static %}<!DOCTYPE html>
<html lang="en">
  <head>
    <title>{% block title %}My Project{% endblock title %}</title>
    {% block css %}{% endblock css %}
    {% block javascript %}
      <script defer src="{% static 'js/project.js' %}"></script>
    {% endblock javascript %}
  </head>
  <body class="{% block bodyclass %}{% endblock bodyclass %}">
    {% block body %}
      {% block main %}
        {% block content %}<p>Use this document as a way to quick start any new project.</p>{% endblock content %}
      {% endblock main %}
      <footer>My Project's footer</footer>
    {% endblock body %}
    {% block inline_javascript %}{% endblock inline_javascript %}
  </body>
</html>
""",
    "my_project/templates/pages/home.html": """\
{% extends "base.html" %}
{% block content %}My Project's home{% endblock content %}
""",
}
