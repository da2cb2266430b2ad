"""A generated project's fixtures make users of whichever model, and its features serve them."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Shared, Tools
from tests.served.test_generated import copy, results
from tests.template import Template

pytestmark = pytest.mark.turn(3)

START = """
import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AbstractUser, PermissionsMixin
from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models


class Manager(BaseUserManager):
    pass  # without create_user


class Country(models.Model):
    name = models.CharField(max_length=20, unique=True)


class Company(models.Model):
    country = models.ForeignKey(Country, on_delete=models.PROTECT)
    opened = models.DateField()
"""
# Of a company, with an e-mail address to sign in, and more required fields than it asks for; it validates itself.
MEMBER = """
class User(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    company = models.ForeignKey(Company, on_delete=models.CASCADE)
    born = models.DateField(blank=True)
    plan = models.CharField(max_length=4, choices=[("free", "Free"), ("paid", "Paid")])
    phone = models.CharField(max_length=16, unique=True, validators=[RegexValidator(r"^\\+[0-9]{8,15}$")])
    nickname = models.CharField(max_length=40, validators=[MinLengthValidator(8)])
    balance = models.DecimalField(max_digits=4, decimal_places=2)
    code = models.SmallIntegerField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = Manager()
    USERNAME_FIELD = "email"

    def save(self, *args, **kwargs):
        self.full_clean()
        super().save(*args, **kwargs)
"""
# As Django's documentation has it: no permissions, and is_staff depends on another field. Its key is its name.
PLAIN = """
class User(AbstractBaseUser):
    handle = models.SlugField(primary_key=True)
    role = models.CharField(max_length=6, choices=[("guest", "Guest"), ("editor", "Editor")], default="guest")
    profile = models.OneToOneField(Company, on_delete=models.PROTECT)
    objects = Manager()
    USERNAME_FIELD = "handle"

    @property
    def is_staff(self):
        return self.role == "editor"
"""
# A proxy of a child of another table.
PROXY = """
class Person(AbstractUser):
    age = models.PositiveSmallIntegerField()


class Employee(Person):
    boss = models.ForeignKey("self", on_delete=models.CASCADE, null=True)
    company = models.ForeignKey(Company, on_delete=models.CASCADE)


class User(Employee):
    class Meta:
        proxy = True
"""
# Its number cannot be made up.
GUARDED = """
class User(AbstractUser):
    number = models.CharField(max_length=9, validators=[RegexValidator("^A-[0-9]{4}$")])

    def save(self, *args, **kwargs):
        self.full_clean()
        super().save(*args, **kwargs)
"""
OVERRIDE = """

@pytest.fixture
def make_user(make_user):
    return lambda name, **values: make_user(name, number="A-1234", **values)
"""
# For each user model: what the consumers of a feature are served, also when the user changes.
CHANGES = """
import pytest

from apps.common.testing import connect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def carl(make_user):
    return make_user("carl")


async def test_users_are_their_own(user, other_user, carl):
    assert len({user.pk, other_user.pk, carl.pk}) == 3
    assert carl.check_password("carl-password")
    async with connect("/ws/orders/1/", user) as client, connect("/ws/orders/1/", other_user) as other:
        user.set_password("another-password")
        await user.asave()
        await client.assert_closed(3000)
        await other.request("place_order", text="hello")


async def test_staff_is_staff_everywhere(user, staff_user):
    assert (bool(user.is_staff), bool(staff_user.is_staff)) == (False, True)
"""


@pytest.fixture(scope="session")
def people(plain: Path, template: Template, shared: Shared) -> Path:
    """A project whose user model is still to be chosen."""

    def make(folder: Path) -> None:
        project = copy(plain, folder)
        template.feature("orders", project, actions="place_order")
        template.feature("inside", project, access="staff")
        (project / "apps/orders/tests/test_changes.py").write_text(CHANGES)
        (project / "apps/users/admin.py").unlink()
        for migration in project.glob("apps/users/migrations/0*.py"):
            migration.unlink()

    return shared.once("people", make) / "project"


def with_model(people: Path, tools: Tools, project: Path, model: str) -> Path:
    shutil.copytree(people, project)
    (project / "apps/users/models.py").write_text(f"{START}\n\n{model}")
    tools.run(project, "python", "manage.py", "makemigrations", "users", "--verbosity", "0")
    return project


@pytest.mark.parametrize(
    ("model", "chosen"), [(MEMBER, ""), (PLAIN, ""), (PROXY, "not browser")], ids=["member", "plain", "proxy"]
)
def test_features_serve_users_of(model: str, chosen: str, people: Path, tools: Tools, tmp_path: Path) -> None:
    project = with_model(people, tools, tmp_path / "project", model)
    report = tmp_path / "report.xml"
    tools.run(project, "python", "-m", "pytest", "-q", "-m", chosen, f"--junit-xml={report}", "apps")
    passed, others = results(report)
    assert others == set()
    kinds = {"orders.tests.test_changes", "orders.tests.test_consumer", "inside.tests.test_consumer"}
    assert {f"apps.{kind}" for kind in kinds} <= set(passed)
    assert passed["apps.inside.tests.test_browser"] > 0 or chosen == "not browser"


def test_what_cannot_be_made_up_is_named_with_the_fix(people: Path, tools: Tools, tmp_path: Path) -> None:
    project = with_model(people, tools, tmp_path / "project", GUARDED)
    command = ("python", "-m", "pytest", "-q", "-m", "not browser", "apps/orders")
    printed = tools.run(project, "sh", "-c", f"{' '.join(command[:4])} apps/orders/tests/test_changes.py || true")
    assert "The test kit could not make a users.User: {'number': ['Enter a valid value.']}" in printed
    assert "Override the fixture make_user in conftest.py" in printed
    conftest = project / "conftest.py"
    conftest.write_text(f"import pytest\n\n{conftest.read_text()}{OVERRIDE}")
    assert " passed" in tools.run(project, *command)
