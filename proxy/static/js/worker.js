/** Starts the service worker, with which the page opens without a connection, too. */

const WORKER = 'static/sw.js';

export function startWorker() {
  // Browsers have it on pages that came by TLS, or from the same machine.
  if (!navigator.serviceWorker) return;
  // The page's policy lets no text become an address of a script, but by this one rule.
  const { trustedTypes } = /** @type {any} */ (window);
  const rule = trustedTypes?.createPolicy('worker', { createScriptURL: () => WORKER });
  const address = rule ? rule.createScriptURL('') : WORKER;
  navigator.serviceWorker.register(address, { scope: './' }).catch(() => {
    // It is forbidden, or could not be fetched: the page works without it.
  });
}
