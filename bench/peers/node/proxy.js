// The proxy: a gRPC stream for each WebSocket, JSON in between.
//   node proxy.js HOST:PORT
'use strict';

const grpc = require('@grpc/grpc-js');
const { WebSocketServer } = require('ws');
const { ChatService } = require('./schema');

const client = new ChatService(process.argv[2], grpc.credentials.createInsecure());

function toText(time) {
  return new Date(time.seconds * 1000 + time.nanos / 1e6).toISOString();
}

function toJson(message) {
  const { id, room_id, sender_id, content, seq, sent_at } = message;
  return { id, room_id, sender_id, content, seq, sent_at: toText(sent_at) };
}

function toFrame(response) {
  switch (response.payload) {
    case 'chat_message':
      return { chat_message: toJson(response.chat_message) };
    case 'joined':
      return { joined: response.joined };
    default:
      return { error: response.error };
  }
}

function wrong(socket, message) {
  const error = { code: 'INVALID_ARGUMENT', message, retryable: false };
  socket.send(JSON.stringify({ error }));
}

function sendHistory(socket, request) {
  client.GetChatHistory(request, (error, response) => {
    if (error) {
      wrong(socket, error.details);
    } else {
      const { messages, has_more, epoch } = response;
      const chat_history = { messages: messages.map(toJson), has_more, epoch };
      socket.send(JSON.stringify({ chat_history }));
    }
  });
}

function receive(socket, stream, data) {
  let frame;
  try {
    frame = JSON.parse(data);
  } catch {
    wrong(socket, 'frame: not valid JSON');
    return;
  }
  if (frame.chat_message) {
    stream.write({ chat_message: frame.chat_message });
  } else if (frame.join) {
    stream.write({ join: frame.join });
  } else if (frame.get_chat_history) {
    sendHistory(socket, frame.get_chat_history);
  } else {
    wrong(socket, 'frame: expected one payload, such as chat_message');
  }
}

function serve(socket) {
  const stream = client.Chat();
  socket.on('message', (data) => receive(socket, stream, data));
  socket.on('close', () => stream.end());
  socket.on('error', () => socket.terminate());
  stream.on('data', (response) => socket.send(JSON.stringify(toFrame(response))));
  stream.on('error', () => socket.close(1011));
  stream.on('end', () => socket.close(1011));
}

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', serve);
server.on('listening', () => {
  console.log(`node proxy ready: WebSocket on ws://127.0.0.1:${server.address().port}`);
});

process.on('SIGTERM', () => process.exit(0));
