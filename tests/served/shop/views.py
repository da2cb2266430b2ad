from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.views.generic import CreateView, DetailView, ListView

from .forms import OrderForm
from .models import Order


class OrderListView(ListView):
    model = Order
    paginate_by = 20

    def get_queryset(self):
        return super().get_queryset().select_related("product")


class OrderDetailView(DetailView):
    model = Order


class OrderCreateView(LoginRequiredMixin, CreateView):
    model = Order
    form_class = OrderForm

    def form_valid(self, form):
        form.instance.customer = self.request.user
        return super().form_valid(form)


def my_orders(request: HttpRequest) -> HttpResponse:
    if not request.user.is_authenticated:
        return HttpResponse(status=403)
    orders = Order.objects.filter(customer=request.user)
    return HttpResponse(f"{request.user.get_username()}: {orders.count()}")
