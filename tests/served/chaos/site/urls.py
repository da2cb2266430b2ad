from django.urls import path

from . import views

TITLE, DESCRIPTION, URL = "Chaos", "News of a group", "chaos/0/"

urlpatterns = [path("chaos/<slug:group>/", views.page)]
