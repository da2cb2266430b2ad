import logging

from django.db.models.signals import post_save
from django.dispatch import receiver

from .models import Order

logger = logging.getLogger(__name__)


@receiver(post_save, sender=Order)
def log_new_order(sender, instance, created, **kwargs):
    if created:
        logger.info("New order: %s", instance)
