/**
 * The page's service worker: without a connection, the page opens as it was last. With one
 * it comes from the server, always; of the server's API the worker sees nothing.
 *
 * The rules:
 * - It looks at two kinds of requests: for the document, and for the parts that the document
 *   names by addresses that tell their content.
 * - What the server answers is shown. The kept document is shown only when there is no server:
 *   no answer at all, or another server's word that this one is not there.
 * - A document is kept after its parts, and only then the parts of the one before are dropped:
 *   what is kept always goes together.
 * - Where another page has taken this one's place, the worker takes its leave.
 */

const CACHE = 'chat.page';
const GATEWAY_ERRORS = [502, 503, 504];
const GONE = [404, 410];
/** What only the document of this page, as the proxy gives it out, has in it. */
const OURS = /<script type="module" src="static\/main-[0-9a-f]{16}\.js">/;
const PART = /^static\/[\w-]+-[0-9a-f]{16}\.(?:js|svg)$/;
/** What the document asks for by itself. */
const NAMED = /\b(?:href|src)="(static\/[^"]+)"/g;

const { registration, clients } = self;
const home = new URL(registration.scope);
/** What is kept is changed by one navigation after the other. */
let keeping = Promise.resolve();

addEventListener('install', (event) => {
  self.skipWaiting();
  event.waitUntil(fetch(home).then(keep));
});
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('fetch', (event) => {
  const { method, mode, url } = event.request;
  if (method !== 'GET') return;
  const { origin, pathname } = new URL(url);
  if (origin !== home.origin) return;
  if (mode === 'navigate' && pathname === home.pathname) event.respondWith(open(event));
  else if (pathname.startsWith(home.pathname) && PART.test(pathname.slice(home.pathname.length))) {
    event.respondWith(part(event.request));
  }
});

/** @param {FetchEvent} event a navigation to the page */
async function open(event) {
  try {
    const answer = await fetch(event.request);
    if (!GATEWAY_ERRORS.includes(answer.status)) {
      const copy = answer.clone();
      keeping = keeping.then(() => keep(copy)).catch(() => {
        // The network is gone again, or the storage full: what was kept is still good.
      });
      event.waitUntil(keeping);
      return answer;
    }
    return (await kept()) ?? answer;
  } catch (error) {
    const found = await kept();
    if (found) return found;
    throw error;
  }
}

async function kept() {
  return caches.match(home, { cacheName: CACHE, ignoreVary: true });
}

/** @param {Request} request for a part, whose content never changes */
async function part(request) {
  const found = await caches.match(request, { cacheName: CACHE, ignoreVary: true });
  return found ?? fetch(request);
}

/** @param {Response} answer the server's answer to a request for the page */
async function keep(answer) {
  if (GONE.includes(answer.status)) return takeLeave();
  if (!answer.ok) return;
  const text = await answer.clone().text();
  if (!OURS.test(text)) return takeLeave();
  const cache = await caches.open(CACHE);
  const named = [...text.matchAll(NAMED)].map(([, address]) => address);
  const parts = new Set(named.filter((address) => PART.test(address)).map((address) => new URL(address, home).href));
  const known = (await cache.keys()).map(({ url }) => url);
  await cache.addAll([...parts].filter((url) => !known.includes(url)));
  await cache.put(home, answer);
  const old = known.filter((url) => url !== home.href && !parts.has(url));
  await Promise.all(old.map((url) => cache.delete(url, { ignoreVary: true })));
}

async function takeLeave() {
  await caches.delete(CACHE);
  await registration.unregister();
}

addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(show(event.notification.data?.room ?? ''));
});

/** @param {string} room to be shown in a window of the page */
async function show(room) {
  const windows = await clients.matchAll({ type: 'window', includeUncontrolled: true });
  const ours = windows.find(({ url }) => url.split(/[?#]/)[0] === home.href);
  if (!ours) return clients.openWindow(new URL(`#${encodeURIComponent(room)}`, home));
  ours.postMessage({ room });
  return ours.focus();
}
