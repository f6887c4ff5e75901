// Two clients who know only the contract: they chat in a room, look each other
// up, and read the history, also that of a room in which messages changed. Prints what they saw, as JSON.
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const schema = fileURLToPath(new URL("contract.proto", import.meta.url));
const { chat } = grpc.loadPackageDefinition(
  loader.loadSync(schema, { keepCase: true, enums: String, defaults: true, oneofs: true }),
);
const service = new chat.ChatService(process.argv[2], grpc.credentials.createInsecure());

// Calls a unary method; a refusal is a result as well.
function ask(method, request) {
  return new Promise((resolve) => {
    service[method](request, (error, response) => {
      resolve(error ? { code: error.code, details: error.details } : response);
    });
  });
}

class Client {
  #stream = service.Chat();
  #frames = this.#stream[Symbol.asyncIterator]();
  #sender;

  constructor(sender) {
    this.#sender = sender;
  }

  // Sends a message, waits for the next one, and returns what came.
  async say(id, content) {
    const message = { id, room_id: "lobby", sender_id: this.#sender, content };
    this.#stream.write({ chat_message: message });
    return this.hear();
  }

  async hear() {
    const { value } = await this.#frames.next();
    return { payload: value.payload, ...value.chat_message };
  }

  async close() {
    const status = once(this.#stream, "status");
    this.#stream.end();
    const { done } = await this.#frames.next();
    const [{ code }] = await status;
    return { done, code };
  }
}

const seen = { nobody: await ask("GetUser", { user_id: "ada" }) };
const ada = new Client("ada");
const bob = new Client("bob");
seen.ada = [await ada.say("1", "hello")];
seen.bob = [await bob.say("1", "hi, Ada 👋")];
seen.ada.push(await ada.hear());
const atBob = bob.hear();
seen.ada.push(await ada.say("2", "how are you?"));
seen.bob.push(await atBob);
seen.again = await ada.say("2", "said twice");
seen.active = await ask("GetUser", { user_id: "bob" });
seen.history = await ask("GetChatHistory", { room_id: "lobby", limit: 2 });
seen.wholeHistory = await ask("GetChatHistory", { room_id: "lobby" });
seen.changed = await ask("GetChatHistory", { room_id: "changed" });
seen.refused = await ask("GetChatHistory", { room_id: "lobby", limit: -1 });
seen.closed = [await ada.close(), await bob.close()];
seen.inactive = await ask("GetUser", { user_id: "bob" });
// What is open goes on when the channel is closed, which says GOAWAY.
const eve = new Client("eve");
seen.late = [await eve.say("1", "before")];
service.close();
seen.late.push(await eve.say("2", "after"));
seen.closed.push(await eve.close());
console.log(JSON.stringify(seen));
