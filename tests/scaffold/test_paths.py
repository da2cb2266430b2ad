"""The whole set of paths that each scaffold makes, and what each option adds to it."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import Tools
from tests.template import ROOT, Template, paths

PROJECT = """
.copier-answers.yml
.env.example
.gitignore
Makefile
README.md
apps/__init__.py
apps/common/__init__.py
apps/common/apps.py
apps/common/checks/__init__.py
apps/common/checks/application.py
apps/common/checks/base_templates.py
apps/common/checks/deploy.py
apps/common/checks/endpoints.py
apps/common/checks/imports.py
apps/common/checks/installation.py
apps/common/checks/javascript.py
apps/common/checks/scripts.py
apps/common/checks/static_files.py
apps/common/checks/transport.py
apps/common/context_processors.py
apps/common/contract/__init__.py
apps/common/contract/compatibility.py
apps/common/contract/contract_file.py
apps/common/contract/drift.py
apps/common/contract/features.py
apps/common/contract/normal_form.py
apps/common/contract/pages.py
apps/common/contract/revision.py
apps/common/contract/schemas.py
apps/common/contract/service_checks.py
apps/common/csp.py
apps/common/features.py
apps/common/fragments.py
apps/common/import_map.py
apps/common/live/__init__.py
apps/common/live/checks.py
apps/common/live/consumer.py
apps/common/live/declaration.py
apps/common/live/difference.py
apps/common/live/messages.py
apps/common/live/publishing.py
apps/common/live/queryset.py
apps/common/live/view.py
apps/common/live/writing.py
apps/common/log.py
apps/common/management/__init__.py
apps/common/management/app_template/__init__.py-tpl
apps/common/management/app_template/apps.py-tpl
apps/common/management/app_template/migrations/__init__.py-tpl
apps/common/management/app_template/models.py-tpl
apps/common/management/commands/__init__.py
apps/common/management/commands/check.py
apps/common/management/commands/contract.py
apps/common/management/commands/drain.py
apps/common/management/commands/live_reload.py
apps/common/management/commands/runserver.py
apps/common/management/commands/startapp.py
apps/common/management/commands/startfeature.py
apps/common/management/model_facts.py
apps/common/management/scaffold.py
apps/common/redis_url.py
apps/common/server.py
apps/common/static/common/css/site.css
apps/common/static/common/img/icon.svg
apps/common/static/js/components/connection_status.js
apps/common/static/js/components/counterpart.js
apps/common/static/js/components/edit_form.js
apps/common/static/js/components/event_list.js
apps/common/static/js/components/form_fields.js
apps/common/static/js/components/fragments.js
apps/common/static/js/components/html_row.js
apps/common/static/js/components/live_form.js
apps/common/static/js/components/live_rows.js
apps/common/static/js/components/page_reload.js
apps/common/static/js/services/websocket.js
apps/common/static/js/services/websocket/backoff.js
apps/common/static/js/services/websocket/events.js
apps/common/static/js/services/websocket/heartbeat.js
apps/common/static/js/services/websocket/outbox.js
apps/common/static/js/services/websocket/page_events.js
apps/common/static/js/services/websocket/protocol.js
apps/common/static/js/services/websocket/requests.js
apps/common/storage.py
apps/common/templatetags/__init__.py
apps/common/templatetags/websockets.py
apps/common/testing/__init__.py
apps/common/testing/chromium.py
apps/common/testing/client.py
apps/common/testing/fixtures.py
apps/common/testing/runner.py
apps/common/testing/users.py
apps/common/testing/websocket_server.js
apps/common/tests/__init__.py
apps/common/tests/backoff.test.js
apps/common/tests/browser_client.py
apps/common/tests/browser_site.py
apps/common/tests/catalogue.py
apps/common/tests/conftest.py
apps/common/tests/connection_status.test.js
apps/common/tests/events.test.js
apps/common/tests/guide.test.js
apps/common/tests/heartbeat.test.js
apps/common/tests/live_form.test.js
apps/common/tests/outbox.test.js
apps/common/tests/page_events.test.js
apps/common/tests/page_reload.test.js
apps/common/tests/process.py
apps/common/tests/protocol.test.js
apps/common/tests/redis_proxy.py
apps/common/tests/rows_page.py
apps/common/tests/sent_forms.py
apps/common/tests/server_process.py
apps/common/tests/serving.py
apps/common/tests/test_access.py
apps/common/tests/test_bounds.py
apps/common/tests/test_broadcast.py
apps/common/tests/test_broadcast_transactions.py
apps/common/tests/test_broken_project.py
apps/common/tests/test_browser_close_codes.py
apps/common/tests/test_browser_form.py
apps/common/tests/test_browser_fragments.py
apps/common/tests/test_browser_german.py
apps/common/tests/test_browser_html_rows.py
apps/common/tests/test_browser_live_rows.py
apps/common/tests/test_live_difference.py
apps/common/tests/test_live.py
apps/common/tests/test_live_html.py
apps/common/tests/test_live_parent.py
apps/common/tests/test_live_related.py
apps/common/tests/live_rows.py
apps/common/tests/test_browser_page.py
apps/common/tests/test_browser_reload.py
apps/common/tests/test_browser_replay.py
apps/common/tests/test_browser_server.py
apps/common/tests/test_browser_status.py
apps/common/tests/test_checks.py
apps/common/tests/test_context.py
apps/common/tests/test_contract.py
apps/common/tests/test_contract_file.py
apps/common/tests/test_csp.py
apps/common/tests/test_database.py
apps/common/tests/test_entry_points.py
apps/common/tests/test_event_loop.py
apps/common/tests/test_features.py
apps/common/tests/test_fields.py
apps/common/tests/test_fragments.py
apps/common/tests/test_frames.py
apps/common/tests/test_guards.py
apps/common/tests/test_guide.py
apps/common/tests/test_handover.py
apps/common/tests/test_import_map.py
apps/common/tests/test_inbox.py
apps/common/tests/test_input.py
apps/common/tests/test_javascript.py
apps/common/tests/test_kit.py
apps/common/tests/test_limits.py
apps/common/tests/test_log.py
apps/common/tests/test_missed_commands.py
apps/common/tests/test_operation.py
apps/common/tests/test_order.py
apps/common/tests/test_outage.py
apps/common/tests/test_outbox.py
apps/common/tests/test_page_contract.py
apps/common/tests/test_page_user.py
apps/common/tests/test_prefix.py
apps/common/tests/test_processes.py
apps/common/tests/test_public_api.py
apps/common/tests/test_redis.py
apps/common/tests/test_redis_failover.py
apps/common/tests/test_redis_lag_check.py
apps/common/tests/test_redis_rights.py
apps/common/tests/test_refused.py
apps/common/tests/test_registry.py
apps/common/tests/test_replay.py
apps/common/tests/test_revocation.py
apps/common/tests/test_scaffold.py
apps/common/tests/test_security.py
apps/common/tests/test_sessions.py
apps/common/tests/test_start.py
apps/common/tests/test_state.py
apps/common/tests/test_static_files.py
apps/common/tests/test_streams.py
apps/common/tests/test_tenants.py
apps/common/tests/test_tokens.py
apps/common/tests/test_uvicorn.py
apps/common/tests/test_websockets_guide.py
apps/common/tests/valkey.py
apps/common/tests/websocket.test.js
apps/common/tests/websockets_guide.test.js
apps/common/tests/wire.py
apps/common/uvicorn_protocol.py
apps/common/views.py
apps/common/websockets/__init__.py
apps/common/websockets/access/__init__.py
apps/common/websockets/access/identity.py
apps/common/websockets/access/origin.py
apps/common/websockets/access/page_user.py
apps/common/websockets/access/sessions.py
apps/common/websockets/asgi.py
apps/common/websockets/base_consumer.py
apps/common/websockets/broadcast.py
apps/common/websockets/connection/__init__.py
apps/common/websockets/connection/connection.py
apps/common/websockets/connection/dispatcher.py
apps/common/websockets/connection/frames.py
apps/common/websockets/connection/handlers.py
apps/common/websockets/connection/inbox.py
apps/common/websockets/connection/interfaces.py
apps/common/websockets/connection/outbox.py
apps/common/websockets/connection/rate_limit.py
apps/common/websockets/connection/stepping.py
apps/common/websockets/connection/stepping.py
apps/common/websockets/connection/subscriptions.py
apps/common/websockets/event_loop.py
apps/common/websockets/fields.py
apps/common/websockets/messages.py
apps/common/websockets/page_contracts.py
apps/common/websockets/page_data.py
apps/common/websockets/problems.py
apps/common/websockets/process/__init__.py
apps/common/websockets/process/events.py
apps/common/websockets/process/hub.py
apps/common/websockets/process/metrics.py
apps/common/websockets/process/registry.py
apps/common/websockets/process/revocation.py
apps/common/websockets/process/snapshots.py
apps/common/websockets/process/task_queue.py
apps/common/websockets/protocol.py
apps/common/websockets/readers.py
apps/common/websockets/service.py
apps/common/websockets/streams/__init__.py
apps/common/websockets/streams/base.py
apps/common/websockets/streams/memory.py
apps/common/websockets/streams/redis.py
apps/common/websockets/streams/redis_batches.py
apps/common/websockets/streams/redis_call.py
apps/common/websockets/streams/redis_failures.py
apps/common/websockets/streams/redis_lag_check.py
apps/common/websockets/streams/redis_listener.py
apps/common/websockets/streams/redis_scripts.py
apps/users/__init__.py
apps/users/admin.py
apps/users/migrations/0001_initial.py
apps/users/migrations/__init__.py
apps/users/models.py
biome.json
config/__init__.py
config/asgi.py
config/settings.py
config/urls.py
conftest.py
docs/websockets.md
manage.py
package.json
pyproject.toml
templates/base.html
templates/home.html
templates/registration/login.html
tsconfig.json
update.py
vitest.config.js
"""

FEATURE = """
apps/orders/.copier-answers.yml
apps/orders/__init__.py
apps/orders/consumers.py
apps/orders/messages.py
apps/orders/routing.py
apps/orders/static/orders/js/orders_app.js
apps/orders/static/orders/js/services/orders_contract.d.ts
apps/orders/static/orders/js/services/orders_websocket.js
apps/orders/templates/orders/index.html
apps/orders/tests/__init__.py
apps/orders/tests/orders_websocket.test.js
apps/orders/tests/test_browser.py
apps/orders/tests/test_consumer.py
apps/orders/urls.py
apps/orders/views.py
"""

# A new model adds these; startfeature makes its first migration, too.
MODEL = """
apps/orders/admin.py
apps/orders/live.py
apps/orders/migrations/__init__.py
apps/orders/models.py
apps/orders/tests/conftest.py
"""
MODEL_FIELDS = "item:str:200 quantity:int price:decimal:10:2 status:enum:new:paid customer:fk:user:optional"
MAX_FILES_WITH_A_MODEL = 21
MAX_LINES_WITH_A_MODEL = 850
MIGRATION_LINES = 50

OPTIONS = {
    "github": [".github/workflows/test.yml"],
    "docker": [".dockerignore", "Dockerfile", "compose.yaml"],
}


TESTS_OF_COMMON = [path for path in PROJECT.split() if path.startswith("apps/common/tests/")]
OPTIONS["base_tests"] = TESTS_OF_COMMON
PROJECT = "\n".join(path for path in PROJECT.split() if path not in TESTS_OF_COMMON)


def test_a_project(plain: Path) -> None:
    assert differences(paths(plain), PROJECT.split()) == []


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_adds(template: Template, tmp_path: Path, option: str) -> None:
    made = paths(template.project(tmp_path / "project", **{option: True}))
    assert differences(made, PROJECT.split() + OPTIONS[option]) == []


@pytest.mark.parametrize("access", ["authenticated", "public", "staff"])
def test_a_feature_is_one_folder(template: Template, plain: Path, tmp_path: Path, access: str) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    before = paths(project)
    template.feature("orders", project, access=access)
    assert differences(paths(project), before + FEATURE.split()) == []


def test_a_feature_with_a_model_is_one_small_folder(template: Template, plain: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    before = paths(project)
    feature = template.feature("orders", project, model=f"Order {MODEL_FIELDS}")
    assert differences(paths(project), before + FEATURE.split() + MODEL.split()) == []
    assert len(paths(feature)) < MAX_FILES_WITH_A_MODEL
    lines = sum(len((feature / path).read_text(encoding="utf-8").splitlines()) for path in paths(feature))
    assert 500 < lines < MAX_LINES_WITH_A_MODEL - MIGRATION_LINES


def test_a_feature_changes_nothing_else(template: Template, plain: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    before = {path: (project / path).read_bytes() for path in paths(project)}
    template.feature("orders", project)
    assert {path: (project / path).read_bytes() for path in before} == before
    assert "apps/orders/consumers.py" in paths(project)


# Of a project with one feature, but for what the first run adds: little enough to be read by its owner.
MAX_FILES = 177  # the aim is 125
MAX_LINES = 16_180  # the aim is 9,000


def test_a_project_with_a_feature_is_small(template: Template, plain: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(plain, tmp_path / "project"))
    template.feature("orders", project)
    made = paths(project)
    lines = sum(len((project / path).read_text(encoding="utf-8").splitlines()) for path in made)
    print(f"{len(made)} files, {lines} lines")
    assert len(made) > 80
    assert (len(made) <= MAX_FILES, lines <= MAX_LINES) == (True, True), f"{len(made)} files, {lines} lines"
    assert f"{len(made)} files with a feature" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_the_first_run_adds_is_to_be_committed(tools: Tools) -> None:
    added = {"uv.lock", "package-lock.json"}
    assert added < set(paths(tools.home))
    readme = (tools.home / "README.md").read_text()
    assert {path for path in added if f"`{path}`" not in readme} == set()


def differences(made: list[str], expected: list[str]) -> list[str]:
    missing = [f"missing: {path}" for path in expected if path not in made]
    return missing + [f"not in the list: {path}" for path in made if path not in expected]
