import assert from "node:assert/strict";
import { Client, fetchExchange, subscriptionExchange } from "urql";
import { authExchange } from "@urql/exchange-auth";
import { persistedExchange } from "@urql/exchange-persisted";
import { connect } from "./graphql-ws.mjs";
import { bearer, CHANGES, CREATE, Events, isExpired, ME, newAccount } from "./world.mjs";

export const name = "urql";
export const source = "urql";

const open = (server, account, options = {}) =>
  new Client({
    url: server.url,
    preferGetMethod: false,
    requestPolicy: "network-only",
    fetchOptions: () => ({ headers: account ? account.headers() : {} }),
    exchanges: [fetchExchange],
    ...options,
  });

export async function query({ service }) {
  const account = await newAccount(service);
  for (const preferGetMethod of [false, "force"]) {
    const { data } = await open(service, account, { preferGetMethod }).query(ME, {});
    assert.equal(data.me.email, account.email);
  }
  return "POST, GET";
}

export async function mutation({ service }) {
  const client = open(service, await newAccount(service));
  const { data } = await client.mutation(CREATE, { input: { title: "Milk" } });
  assert.equal(data.createTodo.todo.title, "Milk");
}

/** A file among the variables makes the request multipart/form-data. */
export async function upload({ service }) {
  const client = open(service, await newAccount(service));
  const { error } = await client.mutation(CREATE, { input: { title: new File(["Milk"], "milk.txt") } });
  assert.equal(error.response.status, 415);
  return "415";
}

async function subscribe(client, account) {
  const events = new Events();
  const { unsubscribe } = client
    .subscription(CHANGES, { after: await account.after() })
    .subscribe((result) => (result.error ? events.fail(result.error) : events.next(result)));
  for (const title of ["Milk", "Bread"]) {
    await account.createTodo(title);
    await events.expect(title);
  }
  unsubscribe();
}

export async function subscription({ service }) {
  const account = await newAccount(service);
  const socket = connect(service, account);
  const overSocket = subscriptionExchange({
    forwardSubscription: (request) => ({
      subscribe: (sink) => ({ unsubscribe: socket.subscribe(request, sink) }),
    }),
  });
  await subscribe(open(service, account, { exchanges: [fetchExchange, overSocket] }), account);
  await socket.dispose();
  await subscribe(open(service, account, { fetchSubscriptions: true }), account);
  return "WebSocket, SSE";
}

export async function persisted({ service }) {
  const sent = [];
  const client = open(service, undefined, {
    exchanges: [persistedExchange({ preferGetForPersistedQueries: "force" }), fetchExchange],
    fetch: (uri, options) => {
      sent.push(`${options.method} ${/\bquery=|"query":/.test(uri + options.body) ? "document" : "hash"}`);
      return fetch(uri, options);
    },
  });
  const document = `query Persisted${Date.now()} { me { name } }`;
  for (let n = 0; n < 2; n++) assert.equal((await client.query(document, {})).data.me, null);
  assert.deepEqual(sent, ["GET hash", "GET document", "GET hash"]);
  return "automatic, GET";
}

export async function refresh({ short }) {
  const account = await newAccount(short);
  let refreshes = 0;
  const auth = authExchange(async (utils) => ({
    addAuthToOperation: (operation) => utils.appendHeaders(operation, bearer(account.tokens().accessToken)),
    didAuthError: (error) => isExpired(error.graphQLErrors),
    async refreshAuth() {
      refreshes += 1;
      await account.refresh();
    },
  }));
  const client = open(short, undefined, { exchanges: [auth, fetchExchange] });
  await account.expire();
  const answers = await Promise.all([1, 2, 3].map((n) => client.query(`query Me${n} { me { email } }`, {})));
  assert.deepEqual(answers.map(({ data }) => data?.me.email), Array(3).fill(account.email));
  assert.equal(refreshes, 1);
}
