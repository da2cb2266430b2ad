/**
 * The element that takes an element's place when the HTML around it is replaced: of the same id, or else of the same name
 * or attributes and, among those, in the same place.
 * @param {Element} target that is replaced
 * @param {DocumentFragment} content that replaces it
 * @param {any} element within the target
 * @returns {any} undefined if there is none
 */
export function counterpart(target, content, element) {
    const all = /** @type {string[]} */ (element.getAttributeNames());
    const own = all.includes('id')
        ? ['id']
        : ['name', /radio|submit/.test(element.type) && 'value'];
    const names = all.includes('id') || all.includes('name') ? own : all;
    const tests = all
        .filter((name) => names.includes(name))
        .map((name) => {
            return `[${CSS.escape(name)}="${CSS.escape(element.getAttribute(name))}"]`;
        });
    const selector = element.localName + tests.join('');
    const place = [...target.querySelectorAll(selector)].indexOf(element);
    return content.querySelectorAll(selector)[place];
}
