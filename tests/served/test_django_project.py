"""The first hour of a Django developer passes in a generated project, without a comment that silences."""

import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import Shared, Tools
from tests.template import run

pytestmark = pytest.mark.turn(2)  # they share a project, so one after the other: none at the end

SHOP = Path(__file__).resolve().parent / "shop"
SILENCERS = ("noqa", "type: ignore", "nosec", "fmt: off")
DJANGO_TEST = ("python", "manage.py", "test")
# An owner's user: a UUID as its key, and an e-mail address to sign in with.
USER = """
import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models


class UserManager(BaseUserManager["User"]):
    def create_user(self, email, password=None, **fields):
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email, password=None, **fields):
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects = UserManager()

    USERNAME_FIELD = "email"

    def __str__(self):
        return self.email
"""
USER_ADMIN = """
from django.contrib import admin

from .models import User

admin.site.register(User)
"""


def in_project(project: Path, *command: str, succeed: bool = True, **environment: str) -> str:
    path = f"{project / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    return run(project, *command, succeed=succeed, PATH=path, **environment)


def with_shop(plain: Path, tools: Tools, project: Path) -> Path:
    shutil.copytree(plain, project)
    tools.run(project, "true")  # lends it the packages of Node
    shutil.copytree(tools.mypy_cache, project / ".mypy_cache")
    run(project, "uv", "add", "--quiet", "djangorestframework")
    in_project(project, "python", "manage.py", "startapp", "shop")
    shutil.copytree(SHOP, project / "apps/shop", dirs_exist_ok=True)
    settings = project / "config/settings.py"
    settings.write_text(settings.read_text().replace("    *local_apps(),", '    "rest_framework",\n    *local_apps(),'))
    urls = project / "config/urls.py"
    text = urls.read_text().replace("import path\n", "import include, path\n")
    urls.write_text(text + '\nurlpatterns.insert(0, path("shop/", include("apps.shop.urls")))\n')
    return project


@pytest.fixture(scope="session")
def shop(plain: Path, tools: Tools, shared: Shared) -> Path:
    """A project with the shop, and its first migration."""

    def make(project: Path) -> None:
        with_shop(plain, tools, project)
        in_project(project, "python", "manage.py", "makemigrations")

    return shared.once("shop", make)


def test_the_shop_silences_nothing() -> None:
    sources = {path: path.read_text() for path in SHOP.rglob("*.py")}
    assert len(sources) > 10
    assert [path for path, text in sources.items() if any(silencer in text for silencer in SILENCERS)] == []


def test_the_first_hour_passes_every_check(shop: Path) -> None:
    in_project(shop, "make", "check")


def test_a_wrong_field_fails_the_types(shop: Path) -> None:
    """The type checker knows models and users: it would not, if it were lenient enough to know nothing."""
    (shop / "apps/shop/wrong.py").write_text(WRONG)
    try:
        printed = in_project(shop, "mypy", "apps/shop", succeed=False)
    finally:
        (shop / "apps/shop/wrong.py").unlink()
    assert "Cannot resolve keyword 'nope' into field" in printed
    for place in ("request", "consumer"):
        assert f'Item "User" of "User | AnonymousUser" has no attribute "get_usernam_of_{place}"' in printed


WRONG = """
from django.http import HttpRequest

from apps.common.websockets import BaseWebSocketConsumer
from apps.shop.models import Order


def wrong(request: HttpRequest, consumer: BaseWebSocketConsumer) -> None:
    Order.objects.filter(nope=1)
    request.user.get_usernam_of_request()
    consumer.user.get_usernam_of_consumer()
"""


def test_the_first_hour_passes_migrations_and_tests(shop: Path) -> None:
    in_project(shop, "python", "manage.py", "makemigrations", "--check")
    in_project(shop, "python", "manage.py", "migrate", DATABASE_URL="sqlite://:memory:")
    assert "10 passed" in in_project(shop, "pytest", "apps/shop")


def test_manage_py_test_is_pytest(shop: Path) -> None:
    assert "10 passed" in in_project(shop, *DJANGO_TEST, "apps.shop")
    assert "4 passed" in in_project(shop, *DJANGO_TEST, "apps.shop.tests.test_models")


@pytest.mark.parametrize("label", ["apps.users", "apps.nothing"])
def test_manage_py_test_fails_without_tests(shop: Path, label: str) -> None:
    assert "no tests ran" in in_project(shop, *DJANGO_TEST, label, succeed=False)


def test_an_owners_user_has_a_uuid_and_an_email(shop: Path, tmp_path: Path) -> None:
    """The model is replaced before the first migrate, as Django's documentation wants it."""
    project = Path(shutil.copytree(shop, tmp_path / "project", symlinks=True))
    (project / "apps/users/models.py").write_text(USER.lstrip())
    (project / "apps/users/admin.py").write_text(USER_ADMIN.lstrip())
    for migration in [*project.glob("apps/users/migrations/0*.py"), *project.glob("apps/shop/migrations/0*.py")]:
        migration.unlink()
    python = (shop / ".venv/bin/python").as_posix()
    run(project, python, "manage.py", "makemigrations")
    run(project, python, "-m", "mypy", ".")
    run(project, python, "manage.py", "migrate", "--verbosity", "0")
    email = "eve@example.com"
    superuser = ("createsuperuser", "--no-input", "--email", email)
    run(project, python, "manage.py", *superuser, DJANGO_SUPERUSER_PASSWORD=email)
    assert "10 passed" in run(project, python, "-m", "pytest", "apps/shop")


# ---------------------------------------------------------------------------------------------------------------------
# PostgreSQL
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?sslmode=prefer&connect_timeout=5", "?conn_max_age=60", "?pool=true"])
def test_generated_tests_hold_on_postgresql(shop: Path, postgres: str, query: str, tmp_path: Path) -> None:
    project = Path(shutil.copytree(shop, tmp_path / "project", symlinks=True))
    run(project, shop / ".venv/bin/python", "manage.py", "startfeature", "orders")
    tests = ("apps/orders", "apps/shop", "-m", "not browser")
    printed = run(project, shop / ".venv/bin/python", "-m", "pytest", *tests, DATABASE_URL=postgres + query)
    assert "passed" in printed
