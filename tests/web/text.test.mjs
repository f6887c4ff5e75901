import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { afterClose } from '../../proxy/static/js/closes.js';
import { sentenceOf } from '../../proxy/static/js/errors.js';
import { splitLinks } from '../../proxy/static/js/links.js';
import { hashOf, roomInHash, socketUrl } from '../../proxy/static/js/location.js';
import { MOST_PIECES, excessOf, piecesOf } from '../../proxy/static/js/pieces.js';
import { newId, parseFrame } from '../../proxy/static/js/protocol.js';
import { contentProblem, nameProblem, tidy, typedName } from '../../proxy/static/js/rules.js';
import { randomFrom } from './support.mjs';

describe('limits', () => {
  test('a name has 1 to 64 characters, counted as the server does', () => {
    assert.equal(nameProblem('x'.repeat(64), 'name'), '');
    assert.equal(nameProblem('😀'.repeat(64), 'name'), '');
    assert.match(nameProblem('😀'.repeat(65), 'name'), /at most 64 characters; this one has 65/);
    assert.match(nameProblem('', 'room'), /Enter a room name/);
  });

  test('a name has no control characters', () => {
    for (const bad of ['a\tb', 'a\nb', 'a\u0000b', 'a\u007fb', 'a\u0085b', 'a\u2028b', 'a\ud800b']) {
      assert.notEqual(nameProblem(bad, 'name'), '', JSON.stringify(bad));
    }
  });

  test('a typed name gets the form that the server asks of new ones', () => {
    assert.equal(typedName('  cafe\u0301\u00a0 du  coin\u3000'), 'caf\u00e9 du coin');
    assert.equal(typedName('\u{1f469}\u200d\u{1f4bb}'), '\u{1f469}\u200d\u{1f4bb}');
    assert.equal(typedName(' \n '), '');
    assert.equal(typedName('\ufeff\u2068Ada\u2069 \u202eL.\u200b '), 'Ada L.');
  });

  test('a message has at most 16 KiB of UTF-8', () => {
    assert.equal(excessOf('x'.repeat(16384)), 0);
    assert.equal(excessOf('é'.repeat(8192)), 0);
    assert.equal(excessOf('é'.repeat(8194)), 2);
    assert.equal(excessOf('x'.repeat(16383) + '😀😀'), 2);
    assert.equal(contentProblem('a'), '');
    assert.notEqual(contentProblem('a\ud800'), '');
  });

  test('a longer one is cut at its lines and words, in order, and nothing is lost', () => {
    const lines = Array.from({ length: 400 }, (_, nth) => `line ${nth}: ${'word '.repeat(nth % 19)}`.trim());
    const pieces = piecesOf(lines.join('\n'));
    assert.ok(pieces.length > 1 && pieces.length <= MOST_PIECES);
    assert.equal(pieces.join('\n'), lines.join('\n'));
    assert.deepEqual(piecesOf(`${'a'.repeat(9000)}\n\n${'b'.repeat(7000)}\n${'c'.repeat(5000)}`).map(({ length }) => length), [9000, 12001]);
    assert.equal(piecesOf('x '.repeat(200_000)).length, MOST_PIECES + 1);

    const random = randomFrom(3);
    const parts = ['a', 'word', ' ', '\n', '\n\n', 'é', '😀', '👩‍👩‍👧', '字', '\t', 'x'.repeat(9000), '👩‍👩‍👧'.repeat(900)];
    for (let round = 0; round < 40; round += 1) {
      const text = Array.from({ length: 60 }, () => parts[Math.floor(random() * parts.length)]).join('');
      const cut = piecesOf(text);
      const bare = (given) => given.replace(/\s/g, '');
      if (cut.length <= MOST_PIECES) assert.ok(bare(cut.join('')) === bare(text), `round ${round}`);
      for (const piece of cut) {
        assert.equal(excessOf(piece), 0);
        assert.notEqual(piece, '');
        assert.ok(!/^\u200d|\u200d$|^\s*\n|\s$/.test(piece), `round ${round}`);
      }
    }
  });

  test('what nobody meant to send is taken off, and nothing else', () => {
    assert.equal(tidy('\n  \n    indented\n\n  more  \n \n'), '    indented\n\n  more');
    assert.equal(tidy('a\u0000\u001b[0m\tb\r\nc'), 'a[0m\tb\nc');
    assert.equal(tidy(' \n\t '), '');
  });
});

describe('links', () => {
  const links = (text) => splitLinks(text).filter(({ href }) => href).map((piece) => piece.text);

  test('are found in their sentence', () => {
    assert.deepEqual(links('See https://a.example/x?y=1#z, and (http://b.example/p_(q)).'), [
      'https://a.example/x?y=1#z',
      'http://b.example/p_(q)',
    ]);
    assert.deepEqual(links('"https://a.example/" <https://b.example/>'), [
      'https://a.example/',
      'https://b.example/',
    ]);
  });

  test('are of the web, and of nothing else', () => {
    const text = 'javascript:alert(1) data:text/html,x file:///etc ftp://x httpx://y https:// http://[ mailto:a@b';
    assert.deepEqual(links(text), []);
  });

  test('leave the text as it is', () => {
    const random = randomFrom(7);
    const parts = ['https://', 'http://a.b', ' ', '(', ')', '.', '<', 'é', '\n', 'x', '"', ']', '😀', '%', '@'];
    for (let round = 0; round < 500; round += 1) {
      const text = Array.from({ length: 12 }, () => parts[Math.floor(random() * parts.length)]).join('');
      assert.equal(splitLinks(text).map((piece) => piece.text).join(''), text);
    }
  });
});

describe('frames', () => {
  test('are read by their payload', () => {
    const left = '{"request_id": "r1", "left": {"room_id": "a"}}';
    assert.deepEqual(parseFrame(left), { kind: 'left', requestId: 'r1', body: { room_id: 'a' } });
  });

  test('that are none, or unknown, are not', () => {
    for (const text of ['', 'null', '[]', '1', '{', '{}', '{"later_addition": {}}', '{"left": 1}']) {
      assert.equal(parseFrame(text), null, text);
    }
  });

  test('of an error speak to people', () => {
    const error = { code: 'INVALID_ARGUMENT', message: 'chat_message.room_id: must not be empty', retryable: false };
    assert.equal(sentenceOf(error), 'Must not be empty.');
    const said = (code, message, retryable = false) => sentenceOf({ code, message, retryable });
    const long = 'chat_message.content: must have at most 16,384 bytes of UTF-8';
    assert.equal(said('INVALID_ARGUMENT', long), 'Too long: this server takes at most 16,384 bytes.');
    const denied = 'join.room_id: the token does not allow to read this room';
    assert.equal(said('PERMISSION_DENIED', denied), 'You may not read this room.');
    assert.equal(said('PERMISSION_DENIED', 'x: anything else'), 'You are not allowed to do this.');
    assert.equal(said('RESOURCE_EXHAUSTED', 'too many messages', true), 'Too many messages.');
    assert.equal(said('RESOURCE_EXHAUSTED', 'too much history', true), 'That was too fast.');
    assert.equal(said('RESOURCE_EXHAUSTED', 'too much history'), 'Too much history.');
    assert.equal(said('UNAVAILABLE', 'the read mark could not be stored', true), 'This could not be stored.');
  });

  test('have ids that differ', () => {
    assert.equal(new Set(Array.from({ length: 1000 }, newId)).size, 1000);
    assert.match(newId(), /^[0-9a-f]{32}$/);
  });
});

test('close codes say whether to come back', () => {
  const expected = {
    1000: 'later', 1001: 'soon', 1006: 'later', 1009: 'later', 1011: 'later', 3999: 'later',
    4000: 'later', 4008: 'later', 4499: 'later', 4500: 'never', 4501: 'never', 4999: 'never',
  };
  const actual = Object.keys(expected).map((code) => [code, afterClose(Number(code))]);
  assert.deepEqual(Object.fromEntries(actual), expected);
});

describe('addresses', () => {
  test('carry any room', () => {
    for (const room of ['general', 'a b', 'ü/?#%', '😀']) assert.equal(roomInHash(hashOf(room)), room);
    assert.equal(roomInHash(''), '');
    assert.equal(roomInHash('#%'), '');
  });

  test('of the chat connection follow that of the page', () => {
    assert.equal(socketUrl('http://localhost:8080/#general'), 'ws://localhost:8080/');
    assert.equal(socketUrl('https://chat.example/talk/?x=1#y'), 'wss://chat.example/talk/');
  });
});
