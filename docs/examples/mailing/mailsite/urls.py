"""Django's table of paths."""

from django.urls import path

from mailsite.views import get_order, post_order

urlpatterns = [
    path("orders", post_order),
    path("orders/<uuid:id>", get_order),
]
