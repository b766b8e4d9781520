// The graphql-ws client against the real transports.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { start } from "./service.mjs";

let service, live;
before(async () => {
  [service, live] = await Promise.all([start(), start("examples/test_schema")]);
});
after(() => Promise.all([service.stop(), live.stop()]));

function connect(server, options = {}) {
  const client = createClient({ url: `ws://${server.address}/graphql/ws`, webSocketImpl: WebSocket, retryAttempts: 0, ...options });
  return {
    client,
    async run(query, variables) {
      const results = [];
      for await (const result of client.iterate({ query, variables })) results.push(result);
      return results;
    },
  };
}

const PASSWORD = "correct horse battery staple";
const REGISTER = "mutation($input: RegisterInput!) { register(input: $input) { accessToken user { id } } }";

test("register and me over one socket each", async () => {
  const anonymous = connect(service);
  const input = { email: "ada@example.com", password: PASSWORD, name: "Ada" };
  const [{ data }] = await anonymous.run(REGISTER, { input });
  assert.equal((await anonymous.run("{ me { id } }"))[0].data.me, null);
  await anonymous.client.dispose();

  const known = connect(service, { connectionParams: { authorization: `Bearer ${data.register.accessToken}` } });
  assert.equal((await known.run("{ me { id } }"))[0].data.me.id, data.register.user.id);
  await known.client.dispose();
});

test("a native program's token may be in the header of the upgrade", async () => {
  const anonymous = connect(service);
  const input = { email: "grace@example.com", password: PASSWORD, name: "Grace" };
  const [{ data }] = await anonymous.run(REGISTER, { input });
  await anonymous.client.dispose();
  class Native extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols, { headers: { authorization: `Bearer ${data.register.accessToken}` } });
    }
  }
  // Insomnia and Postman send no payload.
  const native = connect(service, { webSocketImpl: Native });
  assert.equal((await native.run("{ me { id } }"))[0].data.me.id, data.register.user.id);
  await native.client.dispose();
});

test("mutations over the socket fail with the same codes as over HTTP", async () => {
  const { client, run } = connect(service);
  const [{ errors }] = await run(REGISTER, { input: { email: "x", password: "y", name: "" } });
  assert.equal(errors[0].extensions.code, "BAD_USER_INPUT");
  await assert.rejects(run(`{ ${"a: me { id } ".repeat(31)} }`), (refused) => {
    assert.match(refused[0].extensions.code, /^TOO_MANY_/);
    return true;
  });
  await client.dispose();
});

test("a bad token is refused with 4403", async () => {
  const { run } = connect(service, { connectionParams: { token: "nonsense" }, shouldRetry: () => false });
  await assert.rejects(run("{ me { id } }"), (event) => event.code === 4403);
});

test("subscriptions run side by side and end", async () => {
  const { client, run } = connect(live);
  const streams = await Promise.all([10, 100, 1000].map((to) => run(`subscription { count(to: ${to}) }`)));
  assert.deepEqual(streams.map((results) => results.length), [10, 100, 1000]);
  assert.deepEqual(streams[1].map((result) => result.data.count), Array.from({ length: 100 }, (_, n) => n + 1));
  await client.dispose();
});

test("an abandoned subscription leaves the socket usable", async () => {
  const { client, run } = connect(live);
  const silence = client.iterate({ query: "subscription { silence }" });
  const next = silence.next();
  assert.equal((await run("{ hello }"))[0].data.hello, "world");
  await silence.return();
  assert.equal((await next).done, true);
  assert.equal((await run("{ hello }"))[0].data.hello, "world");
  await client.dispose();
});

test("a panic in a stream ends only that stream", async () => {
  const { client, run } = connect(live);
  await assert.rejects(run("subscription { panic }"), (refused) => refused[0].extensions.code === "INTERNAL_SERVER_ERROR");
  assert.equal((await run("{ hello }"))[0].data.hello, "world");
  await client.dispose();
});
