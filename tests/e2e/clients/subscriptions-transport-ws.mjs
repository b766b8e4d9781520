// The older protocol, which Altair, GraphQL Playground, Hoppscotch and Apollo Kotlin 4 speak.
import assert from "node:assert/strict";
import { SubscriptionClient } from "subscriptions-transport-ws";
import WebSocket from "ws";
import { CHANGES, CREATE, Events, ME, newAccount } from "./world.mjs";

export const name = "subscriptions-transport-ws";
export const source = "subscriptions-transport-ws";

const connect = (server, connectionParams) =>
  new SubscriptionClient(server.url.replace("http", "ws"), { connectionParams, reconnect: true }, WebSocket);

const once = (client, request) =>
  new Promise((resolve, reject) => client.request(request).subscribe({ next: ({ data }) => resolve(data), error: reject }));

export async function query({ service }) {
  const account = await newAccount(service);
  const client = connect(service, account.headers);
  assert.equal((await once(client, { query: ME })).me.email, account.email);
  client.close();
}

export async function mutation({ service }) {
  const client = connect(service, (await newAccount(service)).headers);
  const variables = { input: { title: "Milk" } };
  assert.equal((await once(client, { query: CREATE, variables })).createTodo.todo.title, "Milk");
  client.close();
}

export async function subscription({ service }) {
  const account = await newAccount(service);
  const client = connect(service, account.headers);
  const events = new Events();
  const variables = { after: await account.after() };
  client.request({ query: CHANGES, variables }).subscribe({ next: events.next, error: events.fail });
  for (const title of ["Milk", "Bread"]) {
    await account.createTodo(title);
    await events.expect(title);
  }
  client.close();
  return "WebSocket";
}

/** Reconnects when its socket is closed, and asks for new parameters. */
export async function refresh({ short }) {
  const account = await newAccount(short);
  let connections = 0;
  const client = connect(short, async () => {
    if ((connections += 1) > 1) await account.refresh();
    return account.headers();
  });
  const events = new Events();
  const variables = { after: await account.after() };
  client.request({ query: CHANGES, variables }).subscribe({ next: events.next, error: events.fail });
  while (connections < 2) await new Promise((resolve) => client.onReconnected(resolve));
  await account.createTodo("Milk");
  await events.expect("Milk");
  client.close();
}
