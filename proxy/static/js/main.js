/** Puts the parts together: the store, the conversation with the server, the views, the address. */

import { Archive } from './archive.js';
import { lossOf } from './changing.js';
import { ticks } from './clock.js';
import { Connection } from './connection.js';
import { Directory } from './directory.js';
import { draftOf, Drafts } from './drafts.js';
import { Finder } from './finder.js';
import { Going } from './going.js';
import { newGuest } from './identity.js';
import { titleOf } from './info.js';
import { Kept } from './kept.js';
import { hashOf, nameInQuery, roomInHash, socketUrl } from './location.js';
import { offerOf } from './offering.js';
import { TOKEN_EXPIRED, wantsToken } from './protocol.js';
import { isFor } from './reading.js';
import { nameProblem } from './rules.js';
import { Store } from './store.js';
import { Sync } from './sync.js';
import { onLanguage, t, translate } from './texts.js';
import { hasEnded, moderates, offersOf, subjectOf, tokenInHash, tokenProblem } from './token.js';
import { Unsent } from './unsent.js';
import { Acting } from './view/acting.js';
import { Announcer } from './view/announcer.js';
import { listenForArrivals } from './view/arrivals.js';
import { BannerView } from './view/banner.js';
import { Bell } from './view/bell.js';
import { ComposerView } from './view/composer.js';
import { listenForCopies } from './view/copying.js';
import { byId } from './view/dom.js';
import { Drawer } from './view/drawer.js';
import { EntryView } from './view/entry.js';
import { HeaderView } from './view/header.js';
import { HereView } from './view/here.js';
import { Layers } from './view/layers.js';
import { LogView } from './view/log.js';
import { MembersView } from './view/members.js';
import { Notices } from './view/notices.js';
import { PillView } from './view/pill.js';
import { ProfileView } from './view/profile.js';
import { RoomActing } from './view/roomacting.js';
import { RoomsView } from './view/rooms.js';
import { Suggest } from './view/suggest.js';
import { Toast } from './view/toast.js';
import { TypistsView } from './view/typists.js';
import { startWorker } from './worker.js';

const FIRST_ROOM = 'general';
/** Delay of saving: read positions change with every message. */
const SAVE_MS = 300;
/** What is read is kept for a page without a connection no more often. */
const KEEP_MS = 5_000;
/** So long nothing is shown anew after it was, when there is much to show. */
const REST_MS = 50;
/** A hidden page has no frames to render in, but its title counts. */
const HIDDEN_RENDER_MS = 250;

// Before anything is made of its templates.
translate(document);

const store = new Store();
const archive = new Archive();
/** @type {Drafts} */
let drafts;
/** @type {Unsent} */
let unsent;
let token = '';
let renderDue = false;
let renderedAt = -Infinity;
let shown = { first: 1, last: 0, atEnd: false };
/** @type {ReturnType<typeof setTimeout> | undefined} */
let saving;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let keeping;
const kept = new Kept(() => (token ? archive.tab : archive.all));

const handlers = {
  onOpen: () => {
    sync.opened();
    // Whoever chooses a name is told who has it there.
    if (!store.self) sync.peek(entry.room);
    entry.connected();
  },
  onText: (/** @type {string} */ text) => sync.receive(text),
  onLost: (/** @type {number} */ code) => {
    store.lostAt = Date.now();
    sync.lost(code);
  },
  onLink: (/** @type {import('./store.js').Link} */ link) => {
    if (link.phase === 'open' && link.tries > 0) announcer.say(t('say.connected'));
    if (link.phase === 'open') store.lostAt = 0;
    store.link = link;
    if (link.phase === 'waiting' && !hasEnded(token, Date.now())) kept.recall(store);
    if (link.phase === 'ended' && wantsToken(link.code)) signIn();
    scheduleRender();
  },
};
const connection = new Connection(socketUrl(document.baseURI), handlers, {
  offers: () => offersOf(token),
});

const sync = new Sync(store, {
  send: (text) => connection.send(text),
  drop: () => connection.drop(),
  isSeen: () => document.visibilityState === 'visible',
  onChange: () => scheduleRender(),
  onNew: (message) => {
    const isHeard = message.room_id === store.currentId && message.sender_id !== store.self;
    if (isHeard) announcer.sayMessage(message, store.people);
  },
  onNews: (message) => {
    if (isFor(message, store.self)) bell.offer(store.people.shown(message.sender_id));
    if (!hasAttention()) notices.hear(message, store.self);
  },
  onChanged: (changes) => announcer.sayChange(changes, store),
  onRefused: (reason) => announcer.say(t('message.not_saved', { reason })),
});

const announcer = new Announcer();
const drawer = new Drawer();
const toast = new Toast();
const layers = new Layers();
const directory = new Directory();
const finder = new Finder(directory, {
  fetch: (payload) => sync.fetch(payload),
  onChange: () => scheduleRender(),
});
const entry = new EntryView(enter, (name) => store.takenBy(name, store.self || archive.loadIdentity()?.id), {
  open: () => finder.open(store.self),
  typed: (query) => finder.typed(query, store.self),
  offer: (query, mode) => offerOf(store, directory, finder, query, mode),
});
const going = new Going(store, sync, layers, {
  takeToken: () => {
    if (takeToken()) connection.renew();
  },
  onAsk: (room, problem) => entry.open(store.self ? 'join' : 'enter', { room, problem }),
  onOpen: opened,
  onLeft: left,
});
const banner = new BannerView(() => {
  if (wantsToken(store.link.code)) signIn();
  else connection.connect();
});
const rooms = new RoomsView((id) => {
  goTo(id);
  drawer.close();
});
const header = new HeaderView({
  onTopic: () => roomActing.openInfo(),
  onRejoin: () => sync.rejoin(store.currentId),
});
const composer = new ComposerView({
  onSend: (content, isLast) => {
    if (acting.save(content)) return;
    log.toBottom();
    sync.send(store.currentId, content, store.takeExtra(suggest.take(content, isLast)));
  },
  onDraft: (draft) => {
    store.keepDraft(draft);
    saving ??= setTimeout(save, SAVE_MS);
  },
  onTyped: (text) => sync.typed(text),
  onUp: () => acting.editLast(),
  onEscape: () => {
    // With nothing to cancel, it leads back to what is new.
    if (!acting.cancel()) log.toBottom();
  },
  onPage: (pages) => log.page(pages),
});
const suggest = new Suggest({
  people: () => {
    sync.askPeople();
    return store.mentionable();
  },
  onText: () => composer.refresh(),
  say: (text) => announcer.say(text),
});
const log = new LogView({
  onOlder: (roomId) => sync.loadOlder(roomId),
  onNewer: (roomId) => sync.loadNewer(roomId),
  onGoTo: (roomId, goal) => sync.goTo(roomId, goal),
  onRetry: (roomId, id) => {
    sync.retry(roomId, id);
    composer.focus();
  },
  onDiscard: (roomId, id) => {
    store.discard(roomId, id);
    scheduleRender();
    composer.focus();
  },
  onAct: (action, element, button) => acting.pressed(action, element, button),
  onLook: noticeReading,
});
const acting = new Acting(store, sync, {
  onChange: () => scheduleRender(),
  show: (seq) => log.goTo(seq),
  toComposer: () => {
    // It has to show its text before a key can reach it.
    render();
    composer.focus();
  },
  notify: (text) => toast.show(text),
});
const roomActing = new RoomActing(store, sync, {
  onLink: (id) => void acting.copyLink(id),
  onRead: readAll,
  onLeave: (id) => going.leave(id, { canUndo: true }),
  onGo: (seq) => acting.goTo(seq),
  onChange: () => scheduleRender(),
});

const bell = new Bell(archive.loadChoices(), (choices) => archive.saveChoices(choices));
const notices = new Notices({
  choices: () => bell.choices,
  onOpen: goTo,
  nameOf: (userId) => store.people.shown(userId),
  titleOf: (id) => titleOf(store.rooms.get(id) ?? { id, title: '' }),
});
const members = new MembersView({
  onAsk: () => sync.askMembers(),
  onClose: () => {
    store.members = null;
  },
});
const here = new HereView({ onOpen: () => members.toggle(), say: (text) => toast.show(text) });
const typists = new TypistsView();
const profile = new ProfileView({
  onOpen: () => render(),
  onRename: () => entry.open('rename', { name: store.name }),
  onTone: (tone) => sync.setTone(tone),
});

const pill = new PillView({ onJump: toFirstUnread, onRead: readAll });

/** Goes to where reading stopped. */
function toFirstUnread() {
  store.moveLine();
  render();
  log.goTo((store.current?.readSeq ?? 0) + 1);
}

/** Is done with what is new in the room. */
function readAll() {
  store.readAll();
  sync.settle();
  log.focus();
}

/** Renders once for all changes: in the next animation frame, unless it has just been done. */
function scheduleRender() {
  if (renderDue) return;
  renderDue = true;
  const rest = renderedAt + REST_MS - ticks();
  if (document.visibilityState !== 'visible') setTimeout(renderIfDue, HIDDEN_RENDER_MS);
  else if (rest > 0) setTimeout(() => requestAnimationFrame(renderIfDue), rest);
  else requestAnimationFrame(renderIfDue);
}

function renderIfDue() {
  if (renderDue) render();
}

function render() {
  renderDue = false;
  renderedAt = ticks();
  drafts.restore(store.rooms.values(), userOfDrafts());
  for (const view of [banner, rooms, header, here, composer, typists, log, members, profile]) view.render(store);
  pill.render(store, shown);
  bell.render(store.currentId);
  notices.render(store);
  acting.render();
  roomActing.render();
  entry.render();
  sync.askNames();
  unsent.save(store.outbox(), store.changes());
  saving ??= setTimeout(save, SAVE_MS);
  keeping ??= setTimeout(keep, KEEP_MS);
}

function keep() {
  clearTimeout(keeping);
  keeping = undefined;
  if (hasEnded(token, Date.now())) kept.forget();
  else kept.save(store, Date.now());
}

/** The page may not be there any more when it is to be saved. */
function saveAll() {
  save();
  keep();
}

function save() {
  clearTimeout(saving);
  saving = undefined;
  if (store.self) archive.saveSettings(store.save());
  if (store.isGuest) archive.saveIdentity(store.identity);
  archive.saveNames(store.people.kept());
  drafts.save(store.rooms.values(), userOfDrafts());
}

/** Whose drafts are kept: with tokens, several people may use this browser. */
function userOfDrafts() {
  return store.signedIn ? store.self : '';
}

/**
 * Takes over what a closed tab left unsent.
 *
 * @param {import('./unsent.js').Left} left
 */
function takeOver(left) {
  const taken = store.takeOver(left);
  unsent.save(store.outbox(), store.changes());
  sync.settle();
  return taken;
}

/** @param {import('./store.js').View} view what is in view of the current room */
function noticeReading(view) {
  shown = view;
  if (store.look(view, hasAttention())) sync.settle();
  pill.render(store, shown);
}

/** Whether somebody looks at the page: a window in view, but without focus, is not read. */
function hasAttention() {
  return document.visibilityState === 'visible' && document.hasFocus();
}

/**
 * Takes the input of the dialog.
 *
 * @param {import('./view/entry.js').Entered} entered
 */
function enter({ name, token: entered, room, isNew }) {
  if (name) call(name);
  if (entered) useToken(entered);
  if (room) goTo(room);
  else scheduleRender();
  if (isNew) sync.makeRoom(room);
  if (entered) connection.renew();
  else if (store.link.phase === 'idle') connection.connect();
}

/**
 * Gives the user a name, who is somebody new before there was one.
 *
 * @param {string} name
 */
function call(name) {
  // Another tab may have entered since this page was opened.
  if (!store.self) {
    store.become(archive.loadIdentity() ?? newGuest(name), true);
    unsent.look();
  }
  if (name !== store.name) sync.rename(name);
}

/** @param {string} given from now on; empty for none */
function useToken(given) {
  if (token && given !== token) kept.forget();
  token = given;
  archive.saveToken(token);
  store.signedIn = token !== '';
  store.moderates = moderates(token);
  const id = subjectOf(token);
  // By which name, the server knows.
  if (token && id !== store.self) store.become({ id, name: store.people.nameOf(id), told: true }, false);
}

/** Asks for a token, and forgets the one that was refused. */
function signIn() {
  const { code } = store.link;
  const refused = token ? t('entry.refused') : undefined;
  const lead = code === TOKEN_EXPIRED ? t('entry.expired') : refused;
  useToken('');
  entry.open('sign-in', { lead, room: entry.room || store.currentId || FIRST_ROOM });
}

/**
 * Takes a token out of the address, where it must not stay.
 *
 * @returns {boolean} whether there was one that can be used
 */
function takeToken() {
  const found = tokenInHash(location.hash);
  if (!found) return false;
  const address = found.room ? hashOf(found.room) : location.pathname + location.search;
  history.replaceState(null, '', address);
  if (tokenProblem(found.token)) return false;
  useToken(found.token);
  return true;
}

/**
 * Finds who the user is. A tab opened by `?as=NAME` has a user of its own.
 *
 * @returns {import('./identity.js').Identity | null} null if a name is to be asked for
 */
function findIdentity() {
  const name = nameInQuery(location.search);
  if (name !== null) {
    archive.keepApart();
    history.replaceState(null, '', location.pathname + location.hash);
  }
  const identity = name ? newGuest(name) : archive.loadIdentity();
  const isFit = identity && !nameProblem(identity.id, 'name') && !nameProblem(identity.name, 'name');
  return isFit ? identity : null;
}

/**
 * Goes to a room by way of the address, so that Back leads back.
 *
 * @param {string} id
 */
function goTo(id) {
  going.goTo(id);
}

/** @param {number} seq of a message in the room that was opened; 0: none is named */
function opened(seq) {
  render();
  drawer.close();
  if (seq > 0) acting.goTo(seq);
  // On a touch screen, focus would raise the keyboard over the messages.
  else if (matchMedia('(pointer: fine)').matches) composer.focus();
  else header.focus();
}

/**
 * @param {import('./room.js').Room} room that was left
 * @param {(() => void) | null} undo
 */
function left(room, undo) {
  render();
  if (undo) toast.show(t('room.left', { room: titleOf(room) }), t('app.undo'), undo);
  if (store.currentId) composer.focus();
  else if (undo) header.focus();
  else entry.open('join');
}

/**
 * Has the browser ask before the page is closed.
 *
 * @param {BeforeUnloadEvent} event
 */
function closing(event) {
  if ([...store.rooms.values()].some(lossOf)) event.preventDefault();
}

/** The network or the page woke up: waits are cut short, and a dead connection found. */
function wake() {
  if (store.link.phase === 'waiting') connection.connect();
  sync.probe();
  scheduleRender();
}

/** The network is gone: a connection over it would be silent, and one within this machine is back at once. */
function lose() {
  if (store.link.phase === 'open' || store.link.phase === 'connecting') connection.renew();
  scheduleRender();
}

function seen() {
  if (document.visibilityState === 'visible') {
    wake();
    render();
  } else {
    noticeReading(shown);
    saveAll();
  }
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (document.querySelector('dialog:modal')) return;
  if (event.key === 'Escape' && drawer.isOpen && !rooms.isFiltering(event.target)) drawer.close();
  if (event.key === 'Escape' && event.shiftKey && store.current) readAll();
  if (event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    event.preventDefault();
    entry.open('switch');
  }
  if (event.key === 'Enter' && pill.isShown && isIdle(event.target)) toFirstUnread();
  const step = event.altKey ? { ArrowUp: -1, ArrowDown: 1 }[event.key] : undefined;
  if (step === undefined) return;
  event.preventDefault();
  const id = store.neighbour(step);
  if (id) goTo(id);
}

/**
 * @param {EventTarget | null} target
 * @returns {boolean} whether Enter does nothing there
 */
function isIdle(target) {
  const { id, value } = /** @type {HTMLTextAreaElement} */ (target);
  return id === 'log' || (id === 'message-input' && value === '');
}

/**
 * Follows another tab's changes of the rooms.
 *
 * @param {StorageEvent} event
 */
function heard(event) {
  unsent.heard(event);
  if (drafts.heard(event, store.rooms, { current: store.currentId, user: userOfDrafts() })) scheduleRender();
  const identity = archive.heardIdentity(event);
  if (identity && identity.id === store.self && store.isGuest) {
    store.adoptName(identity.name);
    store.isTold = identity.told;
  }
  if (archive.hasNewChoices(event)) bell.adopt(archive.loadChoices());
  const said = archive.heard(event);
  if (!said) return scheduleRender();
  const here = store.rooms.get(said.id);
  if (said.room) store.adopt(said.room);
  // A draft, an unsent message or an unsaved change is not discarded by another tab.
  else if (here && !lossOf(here) && !(said.id === store.currentId && draftOf(here))) going.leave(said.id);
  sync.settle();
}

function listen() {
  listenForArrivals({
    onText: (text) => composer.insert(text),
    onFiles: () => composer.refuseFiles(),
    onTyping: () => composer.focus(),
  });
  listenForCopies((message) => acting.lineOf(message));
  addEventListener('load', startWorker);
  addEventListener('hashchange', () => going.follow());
  addEventListener('online', wake);
  addEventListener('offline', lose);
  addEventListener('beforeunload', closing);
  addEventListener('pagehide', saveAll);
  addEventListener('storage', heard);
  // Before the composer, which is empty after Enter in any case.
  addEventListener('keydown', pressed, { capture: true });
  document.addEventListener('visibilitychange', seen);
  addEventListener('focus', () => noticeReading(shown));
  addEventListener('blur', () => noticeReading(shown));
  for (const id of ['join', 'blank-join']) {
    byId(id, HTMLButtonElement).addEventListener('click', () => entry.open('join'));
  }
  byId('rename', HTMLButtonElement).addEventListener('click', () => {
    if (store.signedIn) entry.open('sign-in', { lead: t('entry.token_lead') });
    else entry.open('rename', { name: store.name });
  });
}

/** Shows everything anew, in another language. */
function speak() {
  log.refresh();
  render();
}

function start() {
  onLanguage(speak);
  listen();
  const identity = findIdentity();
  store.people.recall(archive.loadNames());
  const saved = archive.loadSettings();
  drafts = new Drafts(archive.all);
  unsent = new Unsent(archive.tab, archive.all);
  const left = unsent.load();
  store.restore(saved, left.outbox, left.changes);
  if (identity) store.become(identity, true);
  if (!takeToken()) useToken(archive.loadToken());
  void unsent.open({ onLeft: takeOver, onTaken: () => store.giveUp(left) }).then(scheduleRender);
  const room = roomInHash(location.hash) || saved.current || (saved.rooms[0]?.id ?? '');
  const problem = room && nameProblem(room, 'room');
  if (!store.self || !room || problem) {
    const mode = store.signedIn ? 'join' : 'enter';
    entry.open(mode, { name: store.name, room: room || FIRST_ROOM, problem });
    // Meanwhile it is found out whether a name will do.
    connection.connect();
    return;
  }
  document.body.classList.remove('outside');
  enter({ name: '', token: '', room, isNew: false });
}

start();
