from django.urls import path
from rest_framework.routers import DefaultRouter

from . import views
from .api import OrderViewSet

router = DefaultRouter()
router.register("api/orders", OrderViewSet)

app_name = "shop"
urlpatterns = [
    path("", views.OrderListView.as_view(), name="orders"),
    path("new/", views.OrderCreateView.as_view(), name="new"),
    path("mine/", views.my_orders, name="mine"),
    path("<int:pk>/", views.OrderDetailView.as_view(), name="order"),
    *router.urls,
]
