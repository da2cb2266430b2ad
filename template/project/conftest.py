pytest_plugins = ["apps.common.testing.fixtures", "apps.common.tests.valkey"]
