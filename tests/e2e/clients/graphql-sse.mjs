import assert from "node:assert/strict";
import { createClient } from "graphql-sse";
import { CHANGES, CREATE, Events, isExpired, ME, newAccount } from "./world.mjs";

export const name = "graphql-sse";
export const source = "graphql-sse";

// Distinct connections, the client's default: one request for each operation.
const connect = (server, account, options) =>
  createClient({ url: server.url, headers: () => account.headers(), ...options });

async function once(client, request) {
  for await (const { data } of client.iterate(request)) return data;
}

export async function query({ service }) {
  const account = await newAccount(service);
  const client = connect(service, account);
  assert.equal((await once(client, { query: ME })).me.email, account.email);
  client.dispose();
}

export async function mutation({ service }) {
  const client = connect(service, await newAccount(service));
  const variables = { input: { title: "Milk" } };
  assert.equal((await once(client, { query: CREATE, variables })).createTodo.todo.title, "Milk");
  client.dispose();
}

export async function subscription({ service }) {
  const account = await newAccount(service);
  const client = connect(service, account);
  const events = new Events();
  const variables = { after: await account.after() };
  client.subscribe({ query: CHANGES, variables }, { next: events.next, error: events.fail, complete() {} });
  for (const title of ["Milk", "Bread"]) {
    await account.createTodo(title);
    await events.expect(title);
  }
  client.dispose();
  return "SSE";
}

/** An expired token ends the stream with an error: it is replaced, and the subscription goes on after the last event. */
export async function refresh({ short }) {
  const account = await newAccount(short);
  const client = connect(short, account);
  const events = new Events();
  let renewed = false;
  function follow(after) {
    let expired = false;
    client.subscribe(
      { query: CHANGES, variables: { after } },
      {
        next(result) {
          expired = isExpired(result.errors);
          if (expired) return;
          after = result.data.todoChanged.eventId;
          events.next(result);
        },
        error: events.fail,
        async complete() {
          if (!expired) return;
          await account.refresh();
          renewed = true;
          follow(after);
        },
      },
    );
  }
  follow(await account.after());
  while (!renewed) await new Promise((resolve) => setTimeout(resolve, 20));
  await account.createTodo("Milk");
  await events.expect("Milk");
  client.dispose();
}
