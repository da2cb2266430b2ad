"""A page of browser_site.py with a list of rows and its forms, whose messages a test answers."""

from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

from .sent_forms import SEND

FIELDS = """
    <div class="live-field"><label for="FORM-item">Item</label>
        <input id="FORM-item" name="item" required></div>
    <div class="live-field"><label for="FORM-quantity">Quantity</label>
        <input id="FORM-quantity" name="quantity" type="number" data-type="number" required></div>
    <div class="live-field"><label for="FORM-paid">Paid</label>
        <input id="FORM-paid" name="paid" type="checkbox" data-type="boolean"></div>
    <div class="live-field"><label for="FORM-due">Due</label>
        <input id="FORM-due" name="due" type="datetime-local" step="1" data-type="datetime"></div>
    <div class="live-field"><label for="FORM-at">At</label>
        <input id="FORM-at" name="at" type="time" step="1"></div>
    <div class="live-field"><label for="FORM-tags">Tags</label>
        <textarea id="FORM-tags" name="tags" data-type="list"></textarea></div>
    <div class="live-field"><label for="FORM-extra">Extra</label>
        <textarea id="FORM-extra" name="extra" data-type="json"></textarea></div>
    <div class="live-field"><label for="FORM-customer">Customer</label>
        <select id="FORM-customer" name="customer" data-type="number" data-related>
            <option value=""></option><option value="1">ann</option><option value="2">bob</option>
        </select></div>
"""
PAGE = (
    """{% extends "base.html" %}
{% load i18n websockets %}
{% block head %}
    <script type="module" nonce="{{ csp_nonce }}">
        import { EditForm } from '/static/js/components/edit_form.js';
        import { rowOf } from '/static/js/components/form_fields.js';
        import { drawRow } from '/static/js/components/html_row.js';
        import { LiveForm } from '/static/js/components/live_form.js';
        import { LiveRows } from '/static/js/components/live_rows.js';
        import { hasInput } from '/static/js/components/page_reload.js';
"""
    + SEND
    + """        window.refuse = (code, data) => {
            sent.at(-1).reject(Object.assign(new Error(`Refused: ${code}.`), { code, data }));
        };
        const list = document.querySelector('[data-rows]');
        window.rows = new LiveRows(list);
        window.edit = new EditForm(document.querySelector('dialog'), rows, send);
        window.hasInput = hasInput;
        window.drawnList = (html) => {
            const list = document.createElement('ul');
            list.innerHTML = '<template data-row><li><b data-field="item"></b></li></template>' + html;
            document.body.append(list);
            return new LiveRows(list, { draw: drawRow });
        };
        const form = document.querySelector('[data-action="add-order"]');
        new LiveForm(form, (data) => rows.pending(send(data), rowOf(form, data)));
        rows.onClick('[data-edit]', (row) => edit.open(row));
        rows.onClick('[data-delete]', async (row) => {
            await rows.pending(send({ id: row.id }), {}, row.id).catch(() => {});
        });
        window.order = (id, more) => ({
            id, item: `item ${id}`, quantity: id, paid: false, due: null, at: null, tags: [], extra: null,
            customer: null, ...more,
        });
        window.load = (...ids) => rows.replace(ids.map((id) => order(id)));
        window.row = (id) => [...list.children].find((element) => rows.of(element)?.id === id);
        window.texts = () => [...list.querySelectorAll('dd[data-field=item]')].map((element) => element.textContent);
    </script>
{% endblock %}
{% block content %}
    <div class="live">
        <form class="live-form" data-action="add-order" {% form_texts %}>ADD<button>Add order</button></form>
        <section class="live-panel">
            <p data-empty hidden>Nothing yet.</p>
            <ul
                class="live-rows" role="list" aria-label="Orders" aria-busy="true" data-rows
                data-unconfirmed="Unconfirmed."
            >
                <template data-row>
                    <li>
                        <dl>
                            <div><dt>Item</dt><dd data-field="item"></dd></div>
                            <div><dt>Quantity</dt><dd data-field="quantity"></dd></div>
                            <div><dt>Due</dt><dd data-field="due" data-type="datetime"></dd></div>
                            <div><dt>Customer</dt><dd data-field="customer" data-type="related"></dd></div>
                        </dl>
                        <details><summary>More</summary><pre>1\n2\n3\n4\n5\n6\n7\n8\n9</pre></details>
                        <form><input name="quantity" type="number" aria-label="Inline" data-type="number"></form>
                        <button type="button" data-edit>
                            Edit <span class="live-name" data-field="item"></span>
                        </button>
                        <button type="button" data-delete>
                            Delete <span class="live-name" data-field="item"></span>
                        </button>
                    </li>
                </template>
            </ul>
        </section>
        <dialog class="live-dialog" aria-labelledby="edit-title">
            <form class="live-form" {% form_texts %}>
                <h2 id="edit-title">Edit <span data-field="item"></span></h2>
                <p role="status" data-changed hidden>Changed meanwhile.</p>
                <p role="alert" data-deleted hidden>Deleted meanwhile.</p>
                EDIT
                <button>Save</button>
                <button type="button" data-close>Cancel</button>
            </form>
        </dialog>
    </div>
{% endblock %}
"""
)
PAGE = PAGE.replace("ADD<", FIELDS.replace("FORM", "add") + "<").replace(
    "EDIT\n", FIELDS.replace("FORM", "edit") + "\n"
)


def rows_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


urlpatterns = [path("rows/", rows_page)]
