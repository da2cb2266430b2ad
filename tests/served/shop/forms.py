from django import forms

from .models import Order


class OrderForm(forms.ModelForm):
    class Meta:
        model = Order
        fields = ["product", "note"]
        widgets = {"note": forms.Textarea}

    def clean_note(self):
        return self.cleaned_data["note"].strip()
