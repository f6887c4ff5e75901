// The chat server: a gRPC stream for each client, rooms and their history in memory.
'use strict';

const crypto = require('node:crypto');
const grpc = require('@grpc/grpc-js');
const { ChatService } = require('./schema');

const DEFAULT_PAGE = 50;
const LARGEST_PAGE = 500;

const epoch = crypto.randomUUID();
const rooms = new Map();

function roomOf(id) {
  let room = rooms.get(id);
  if (room === undefined) {
    room = { members: new Set(), messages: [] };
    rooms.set(id, room);
  }
  return room;
}

function enter(call, joined, roomId) {
  const room = roomOf(roomId);
  room.members.add(call);
  joined.add(room);
  return room;
}

function now() {
  const milliseconds = Date.now();
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanos: (milliseconds - seconds * 1000) * 1e6 };
}

function publish(room, message) {
  const { id, room_id, sender_id, content } = message;
  const stored = {
    id: id || crypto.randomUUID(),
    room_id,
    sender_id,
    content,
    seq: room.messages.length + 1,
    sent_at: now(),
  };
  room.messages.push(stored);
  const event = { chat_message: stored };
  for (const member of room.members) member.write(event);
}

function wrong(request_id, message) {
  return { error: { code: 'INVALID_ARGUMENT', message, retryable: false }, request_id };
}

function receive(call, joined, request) {
  const { payload, request_id } = request;
  if (payload === 'chat_message') {
    const message = request.chat_message;
    if (!message.room_id || !message.sender_id || !message.content) {
      call.write(wrong(request_id, 'chat_message: room_id, sender_id and content are needed'));
    } else {
      publish(enter(call, joined, message.room_id), message);
    }
  } else if (payload === 'join') {
    const { room_id } = request.join;
    const last_seq = enter(call, joined, room_id).messages.length;
    call.write({ joined: { room_id, epoch, last_seq, recovered: false }, request_id });
  } else {
    call.write(wrong(request_id, 'payload: expected chat_message or join'));
  }
}

function chat(call) {
  const joined = new Set();
  const leave = () => {
    for (const room of joined) room.members.delete(call);
    joined.clear();
  };
  call.on('data', (request) => receive(call, joined, request));
  call.on('end', () => {
    leave();
    call.end();
  });
  call.on('cancelled', leave);
  call.on('error', leave);
}

function getChatHistory(call, callback) {
  const { room_id, limit } = call.request;
  const room = rooms.get(room_id);
  const messages = room ? room.messages : [];
  const page = messages.slice(-Math.min(limit || DEFAULT_PAGE, LARGEST_PAGE));
  callback(null, { messages: page, has_more: page.length < messages.length, epoch });
}

const server = new grpc.Server();
server.addService(ChatService.service, { Chat: chat, GetChatHistory: getChatHistory });
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(`node server ready: gRPC on 127.0.0.1:${port}`);
});

process.on('SIGTERM', () => process.exit(0));
