"""Models of every kind that a live page may show."""

import uuid

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Upper

from apps.common.live.queryset import LiveQuerySet


class Plain(models.Model):
    class Size(models.IntegerChoices):
        SMALL = 1, "Small"
        LARGE = 2, "Large"

    name = models.CharField(max_length=40)
    size = models.IntegerField(choices=Size, default=Size.SMALL)
    color = models.CharField(max_length=9, choices=[("r", "Red"), ("g", "Green")], blank=True)
    stars = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True, blank=True)
    paper = models.FileField(blank=True)
    secret_token = models.CharField(max_length=9, blank=True)
    data = models.BinaryField(blank=True, default=b"")
    took = models.DurationField(null=True, blank=True)
    seen_at = models.DateTimeField(auto_now=True)
    extra = models.JSONField(default=dict, blank=True)
    upper = models.GeneratedField(
        expression=Upper("name"), output_field=models.CharField(max_length=40), db_persist=True
    )
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)

    objects = LiveQuerySet.as_manager()

    class Meta:
        base_manager_name = "objects"

    def __str__(self) -> str:
        return self.name


class Keyed(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Coded(models.Model):
    code = models.SlugField(primary_key=True)
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Part(models.Model):
    """Its parent's key is a UUID."""

    keyed = models.ForeignKey(Keyed, models.CASCADE)
    coded = models.ForeignKey(Coded, models.CASCADE)
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Country(models.Model):
    iso = models.CharField(max_length=2, unique=True)

    def __str__(self) -> str:
        return self.iso


class City(models.Model):
    country = models.ForeignKey(Country, models.CASCADE, to_field="iso")
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Place(models.Model):
    name = models.CharField(max_length=40)

    def __str__(self) -> str:
        return self.name


class Cafe(Place):
    seats = models.IntegerField()

    def __str__(self) -> str:
        return self.name


class Table(models.Model):
    cafe = models.ForeignKey(Cafe, models.CASCADE)
    number = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.number}"


class ProxyPlace(Place):
    class Meta:
        proxy = True
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    text = models.CharField(max_length=40)
    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.PositiveIntegerField()
    target = GenericForeignKey()

    def __str__(self) -> str:
        return self.text


class Tagged(models.Model):
    name = models.CharField(max_length=40)
    tags = GenericRelation(Tag)
    places = models.ManyToManyField(Place, blank=True)

    def __str__(self) -> str:
        return self.name


class Legacy(models.Model):
    name = models.CharField(max_length=40)

    class Meta:
        managed = False
        db_table = "shop_place"

    def __str__(self) -> str:
        return self.name


class Pair(models.Model):
    pk = models.CompositePrimaryKey("left", "right")
    left = models.IntegerField()
    right = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.left}"


class Abstract(models.Model):
    name = models.CharField(max_length=40)

    class Meta:
        abstract = True


class OnlyBinary(models.Model):  # noqa: DJ008
    data = models.BinaryField()


class Node(models.Model):
    name = models.CharField(max_length=40)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class Passport(models.Model):
    owner = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True)
    number = models.CharField(max_length=9)

    def __str__(self) -> str:
        return self.number
