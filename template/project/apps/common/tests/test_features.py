"""The local apps are found, in order of name; settings that list some of them do not get those twice."""

import pytest

from apps.common import features


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    """Folders of apps/: three apps, and one that is none."""
    monkeypatch.setattr(features, "APPS_DIR", tmp_path)
    for name in ("users", "common", "orders", "documents"):
        (tmp_path / name).mkdir()
        if name != "documents":
            (tmp_path / name / "__init__.py").touch()


def test_apps_are_found_in_order_of_name():
    assert features.local_apps() == ["apps.orders", "apps.users"]


@pytest.mark.parametrize("listed", ["apps.users", "apps.users.apps.UsersConfig", "users", "users.apps.UsersConfig"])
def test_an_app_that_is_listed_is_left_out(listed):
    assert features.local_apps(already_installed=["apps.common", listed]) == ["apps.orders"]


@pytest.mark.parametrize("listed", ["apps.user", "apps.users2", "user", "users2", "my_project.users"])
def test_an_app_of_another_name_is_not_it(listed):
    assert features.local_apps(already_installed=[listed]) == ["apps.orders", "apps.users"]


def test_modules_are_those_of_installed_apps():
    found = features.modules("checks")
    assert list(found) == ["apps.common"]
    assert found["apps.common"].__name__ == "apps.common.checks"
