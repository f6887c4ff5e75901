// Rooms in socket.io, on any number of processes that share a Redis.
//   node server.js pubsub|streams REDIS-URL
//
// What it does not do: nothing is stored, so there is no history, and who was away misses what was
// said; messages have no positions, so each process may show a room in another order; a message
// that is sent twice is shown twice; none is known to have reached the other processes. `streams`
// keeps the last 10,000 packets in memory, so that a process that lost its Redis for a moment can
// go on.
'use strict';

const { createServer } = require('node:http');
const pubsub = require('@socket.io/redis-adapter');
const streams = require('@socket.io/redis-streams-adapter');
const { createClient } = require('redis');
const { Server } = require('socket.io');

const [kind, url] = process.argv.slice(2);

async function connect() {
  const client = createClient({ url });
  client.on('error', (error) => console.error(error));
  await client.connect();
  return client;
}

async function adapter() {
  if (kind === 'streams') return streams.createAdapter(await connect());
  return pubsub.createAdapter(await connect(), await connect());
}

function publish(io, socket, message) {
  const { id, room_id, sender_id, content } = message;
  if (!room_id || !sender_id || !content) {
    socket.emit('error', { code: 'INVALID_ARGUMENT' });
    return;
  }
  const sent_at = new Date().toISOString();
  io.to(room_id).emit('chat_message', { id, room_id, sender_id, content, sent_at });
}

async function main() {
  const http = createServer();
  const io = new Server(http, {
    adapter: await adapter(),
    transports: ['websocket'],
    // The load client answers no pings; a measurement is over long before.
    pingInterval: 3600_000,
  });
  io.on('connection', (socket) => {
    socket.on('join', async ({ room_id }) => {
      await socket.join(room_id);
      socket.emit('joined', { room_id });
    });
    socket.on('chat_message', (message) => publish(io, socket, message));
  });
  http.listen(0, '127.0.0.1', () => {
    console.log(`socket.io ready on http://127.0.0.1:${http.address().port}`);
  });
}

process.on('SIGTERM', () => process.exit(0));
main();
