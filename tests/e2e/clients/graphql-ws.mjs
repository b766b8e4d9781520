import assert from "node:assert/strict";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import { CHANGES, CREATE, Events, ME, newAccount } from "./world.mjs";

export const name = "graphql-ws";
export const source = "graphql-ws";

export const connect = (server, account, options) =>
  createClient({
    url: server.url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    connectionParams: () => account.headers(),
    ...options,
  });

async function once(client, request) {
  for await (const { data } of client.iterate(request)) return data;
}

export async function query({ service }) {
  const account = await newAccount(service);
  const client = connect(service, account);
  assert.equal((await once(client, { query: ME })).me.email, account.email);
  await client.dispose();
}

export async function mutation({ service }) {
  const client = connect(service, await newAccount(service));
  const variables = { input: { title: "Milk" } };
  assert.equal((await once(client, { query: CREATE, variables })).createTodo.todo.title, "Milk");
  await client.dispose();
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
  await client.dispose();
  return "WebSocket";
}

/** Closed with 4403 when its token expires, the client connects again and asks for new parameters. */
export async function refresh({ short }) {
  const account = await newAccount(short);
  let refused = false;
  const client = connect(short, account, {
    async connectionParams() {
      if (refused) await account.refresh();
      refused = false;
      return account.headers();
    },
    on: { closed: ({ code }) => (refused = code === 4403) },
    retryWait: async () => {},
  });
  const events = new Events();
  const variables = { after: await account.after() };
  client.subscribe({ query: CHANGES, variables }, { next: events.next, error: events.fail, complete() {} });
  const { accessToken } = account.tokens();
  while (account.tokens().accessToken === accessToken) await new Promise((resolve) => setTimeout(resolve, 20));
  await account.createTodo("Milk");
  await events.expect("Milk");
  await client.dispose();
}
