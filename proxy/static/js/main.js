/** Puts the parts together: the store, the conversation with the server, the views, the address. */

import { Archive } from './archive.js';
import { lossOf } from './changing.js';
import { wantsToken } from './closes.js';
import { Connection } from './connection.js';
import { Directory } from './directory.js';
import { Finder } from './finder.js';
import { Going } from './going.js';
import { titleOf } from './info.js';
import { Keeping } from './keeping.js';
import { roomInHash, socketUrl } from './location.js';
import { offerOf } from './offering.js';
import { isFor } from './reading.js';
import { Rendering } from './rendering.js';
import { nameProblem } from './rules.js';
import { Session } from './session.js';
import { Store } from './store.js';
import { Sync } from './sync.js';
import { onLanguage, t, translate } from './texts.js';
import { Announcer } from './view/announcer.js';
import { hasAttention } from './view/attention.js';
import { BannerView } from './view/banner.js';
import { Bell } from './view/bell.js';
import { byId } from './view/dom.js';
import { Drawer } from './view/drawer.js';
import { EntryView } from './view/entry.js';
import { HeaderView } from './view/header.js';
import { HereView } from './view/here.js';
import { listenForKeys } from './view/keys.js';
import { Layers } from './view/layers.js';
import { MembersView } from './view/members.js';
import { Notices } from './view/notices.js';
import { ProfileView } from './view/profile.js';
import { RoomView } from './view/room.js';
import { RoomActing } from './view/roomacting.js';
import { RoomsView } from './view/rooms.js';
import { Toast } from './view/toast.js';
import { takenBy } from './who.js';
import { startWorker } from './worker.js';

const FIRST_ROOM = 'general';

// Before anything is made of its templates.
translate(document);

const store = new Store();
const archive = new Archive();
const session = new Session(store, archive, () => keeping.forget());
const rendering = new Rendering(render);
const onChange = () => rendering.schedule();
/** Who the browser remembers; which decides where it keeps things. */
const guest = session.find();
const keeping = new Keeping(store, archive, {
  hasEnded: () => session.hasEnded,
  onChange,
  onRooms: () => sync.settle(),
  onLeft: (id) => going.leave(id),
  onChoices: () => bell.adopt(archive.loadChoices()),
});

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
    if (link.phase === 'waiting') keeping.recall();
    if (link.phase === 'ended' && wantsToken(link.code)) signIn();
    rendering.schedule();
  },
};
const connection = new Connection(socketUrl(document.baseURI), handlers, {
  offers: () => session.offers,
});

const sync = new Sync(store, {
  send: (text) => connection.send(text),
  drop: () => connection.drop(),
  isSeen: () => document.visibilityState === 'visible',
  onChange,
  onNew: (message) => {
    const isHeard = message.room_id === store.currentId && message.sender_id !== store.self;
    if (isHeard) announcer.sayMessage(message, store.people);
  },
  onNews: (message) => {
    if (isFor(message, store.self)) bell.offer(store.people.shown(message.sender_id));
    if (!hasAttention()) notices.hear(message, store.self);
  },
  onChanged: (changes) => announcer.sayChange(changes, store),
  onRefused: (reason, kind) => {
    const text = t('message.not_saved', { reason });
    // A message shows why itself.
    if (kind === 'rename') toast.show(text);
    else announcer.say(text);
  },
});

const announcer = new Announcer();
const drawer = new Drawer();
const toast = new Toast();
const layers = new Layers();
const directory = new Directory();
const finder = new Finder(directory, {
  fetch: (payload) => sync.fetch(payload),
  onChange,
});
const entry = new EntryView(enter, (name) => takenBy(store, name, store.self || archive.loadIdentity()?.id), {
  open: () => finder.open(store.self),
  typed: (query) => finder.typed(query, store.self),
  offer: (query, mode) => offerOf(store, directory, finder, query, mode),
});
const going = new Going(store, sync, layers, {
  takeToken: () => {
    if (session.takeToken()) connection.renew();
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
  going.goTo(id);
  drawer.close();
});
const header = new HeaderView({
  onTopic: () => roomActing.openInfo(),
  onRejoin: () => sync.rejoin(store.currentId),
});
const room = new RoomView(store, sync, {
  onChange,
  onDraft: () => keeping.soon(),
  render: () => rendering.now(),
  toast,
  say: (text) => announcer.say(text),
});
const roomActing = new RoomActing(store, sync, {
  onLink: (id) => room.copyLink(id),
  onRead: () => room.readAll(),
  onLeave: (id) => going.leave(id, { canUndo: true }),
  onGo: (seq) => room.goTo(seq),
  onChange,
});

const bell = new Bell(archive.loadChoices(), (choices) => archive.saveChoices(choices));
const notices = new Notices({
  choices: () => bell.choices,
  onOpen: (id) => going.goTo(id),
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
const profile = new ProfileView({
  onOpen: () => rendering.now(),
  onRename: () => entry.open('rename', { name: store.name }),
  onTone: (tone) => sync.setTone(tone),
});

/** Shows the store as it is now. */
function render() {
  keeping.fill();
  for (const view of [banner, rooms, header, here, members, profile]) view.render(store);
  room.render();
  bell.render(store.currentId);
  notices.render(store);
  roomActing.render();
  entry.render();
  sync.askNames();
  keeping.follow();
}

/**
 * Takes the input of the dialog.
 *
 * @param {import('./view/entry.js').Entered} entered
 */
function enter({ name, token, room: wanted, isNew }) {
  if (name && !store.self) {
    session.enter(name);
    keeping.look();
  }
  if (name && name !== store.name) sync.rename(name);
  if (token) session.use(token);
  if (wanted) going.goTo(wanted);
  else rendering.schedule();
  if (isNew) sync.makeRoom(wanted);
  if (token) connection.renew();
  else if (store.link.phase === 'idle') connection.connect();
}

/** Asks for a token, and forgets the one that was refused. */
function signIn() {
  const lead = session.refused();
  entry.open('sign-in', { lead, room: entry.room || store.currentId || FIRST_ROOM });
}

/** @param {number} seq of a message in the room that was opened; 0: none is named */
function opened(seq) {
  rendering.now();
  drawer.close();
  if (seq > 0) room.goTo(seq);
  // On a touch screen, focus would raise the keyboard over the messages.
  else if (matchMedia('(pointer: fine)').matches) room.focus();
  else header.focus();
}

/**
 * @param {import('./room.js').Room} gone the room that was left
 * @param {(() => void) | null} undo
 */
function left(gone, undo) {
  rendering.now();
  if (undo) toast.show(t('room.left', { room: titleOf(gone) }), t('app.undo'), undo);
  if (store.currentId) room.focus();
  else if (undo) header.focus();
  else entry.open('join');
}

/** The network or the page woke up: waits are cut short, and a dead connection found. */
function wake() {
  if (store.link.phase === 'waiting') connection.connect();
  sync.probe();
  rendering.schedule();
}

/** The network is gone: a connection over it would be silent, and one within this machine is back at once. */
function lose() {
  if (store.link.phase === 'open' || store.link.phase === 'connecting') connection.renew();
  rendering.schedule();
}

function seen() {
  if (document.visibilityState === 'visible') {
    wake();
    rendering.now();
  } else {
    room.look();
    keeping.now();
  }
}

/**
 * Has the browser ask before the page is closed.
 *
 * @param {BeforeUnloadEvent} event
 */
function closing(event) {
  if ([...store.rooms.values()].some(lossOf)) event.preventDefault();
}

function listen() {
  listenForKeys({
    onEscape: (target) => {
      if (drawer.isOpen && !rooms.isFiltering(target)) drawer.close();
    },
    onRead: () => {
      if (store.current) room.readAll();
    },
    onSwitch: () => entry.open('switch'),
    onJump: () => room.jump(),
    onStep: (step) => {
      const id = store.neighbour(step);
      if (id) going.goTo(id);
    },
  });
  addEventListener('load', startWorker);
  addEventListener('hashchange', () => going.follow());
  addEventListener('online', wake);
  addEventListener('offline', lose);
  addEventListener('beforeunload', closing);
  addEventListener('pagehide', () => {
    // What can no longer be undone holds.
    toast.hide();
    keeping.now();
  });
  addEventListener('storage', (event) => keeping.heard(event));
  document.addEventListener('visibilitychange', seen);
  addEventListener('focus', () => room.look());
  addEventListener('blur', () => room.look());
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
  room.refresh();
  rendering.now();
}

function start() {
  onLanguage(speak);
  listen();
  const saved = keeping.restore();
  if (guest) store.become(guest, true);
  session.resume();
  void keeping.watch();
  const wanted = roomInHash(location.hash) || saved.current || (saved.rooms[0]?.id ?? '');
  const problem = wanted && nameProblem(wanted, 'room');
  if (!store.self || !wanted || problem) {
    const mode = store.signedIn ? 'join' : 'enter';
    entry.open(mode, { name: store.name, room: wanted || FIRST_ROOM, problem });
    // Meanwhile it is found out whether a name will do.
    connection.connect();
    return;
  }
  document.body.classList.remove('outside');
  enter({ name: '', token: '', room: wanted, isNew: false });
}

start();
