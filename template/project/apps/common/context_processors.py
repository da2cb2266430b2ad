"""Variables of every template."""

from django.conf import settings
from django.http import HttpRequest


def project(request: HttpRequest) -> dict[str, str]:
    """The project's name, from the settings."""
    return {"project_name": settings.PROJECT_NAME}
