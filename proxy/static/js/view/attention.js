/** Whether somebody looks at the page: a window in view, but without focus, is not read. */
export function hasAttention() {
  return document.visibilityState === 'visible' && document.hasFocus();
}
