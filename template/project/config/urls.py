"""The site's addresses: the home page, admin, login and logout, what monitors ask, and every feature's live page."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path
from django.views.generic import TemplateView

from apps.common import views
from apps.common.features import live_pages

pages = live_pages()

urlpatterns = [
    path("", TemplateView.as_view(template_name="home.html", extra_context={"pages": pages}), name="home"),
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("health/", views.health),
    path("ready/", views.ready),
    path("metrics/", views.metrics),
]

# Last: a route of yours comes first.
urlpatterns += [pattern for page in pages for pattern in page.urlpatterns]
