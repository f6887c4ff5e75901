/**
 * Small helpers over the document. Text goes in as text: nothing here, or in any
 * view, makes markup of a string.
 */

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${type.name} #${id}.`);
  return element;
}

/**
 * @template {HTMLElement} T
 * @param {ParentNode} root
 * @param {string} name value of its `data-part`
 * @param {new () => T} type
 * @returns {T}
 */
export function part(root, name, type) {
  const element = root.querySelector(`[data-part="${name}"]`);
  if (!(element instanceof type)) throw new Error(`There is no ${type.name} part ${name}.`);
  return element;
}

/**
 * Makes the single element of a `<template>`.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
export function fromTemplate(id) {
  const first = byId(id, HTMLTemplateElement).content.firstElementChild;
  return /** @type {HTMLElement} */ (document.importNode(/** @type {Element} */ (first), true));
}

/**
 * Sets text only where it differs, so that a live region hears of changes alone.
 *
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Shows a problem beside its field, or takes it away.
 *
 * @param {HTMLInputElement | HTMLTextAreaElement} field
 * @param {HTMLElement} line
 * @param {string} problem empty for none
 */
export function setProblem(field, line, problem) {
  setText(line, problem);
  line.hidden = problem === '';
  field.setAttribute('aria-invalid', String(problem !== ''));
}

/**
 * Makes these nodes the children of an element, in this order. Nodes already in
 * place are not touched, so that focus and selection stay.
 *
 * @param {Element} parent
 * @param {HTMLElement[]} nodes
 */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) {
    if (!wanted.has(/** @type {HTMLElement} */ (child))) child.remove();
  }
  let place = parent.firstElementChild;
  for (const node of nodes) {
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
}
