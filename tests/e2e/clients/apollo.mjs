import assert from "node:assert/strict";
import {
  ApolloClient,
  ApolloLink,
  CombinedGraphQLErrors,
  CombinedProtocolErrors,
  gql,
  HttpLink,
  InMemoryCache,
} from "@apollo/client";
import { BatchHttpLink } from "@apollo/client/link/batch-http";
import { ErrorLink } from "@apollo/client/link/error";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import UploadHttpLink from "apollo-upload-client/UploadHttpLink.mjs";
import { from, switchMap } from "rxjs";
import { runManifest } from "./apollo-manifest.mjs";
import { connect } from "./graphql-ws.mjs";
import { bearer, CHANGES, CREATE, Events, isExpired, ME, newAccount, sha256 } from "./world.mjs";

export const name = "Apollo Client";
export const source = "@apollo/client";

export const open = (link) => new ApolloClient({ link, cache: new InMemoryCache() });
const options = (server, account) => ({ uri: server.url, headers: account.headers() });

export async function query({ service }) {
  const account = await newAccount(service);
  for (const useGETForQueries of [false, true]) {
    const client = open(new HttpLink({ ...options(service, account), useGETForQueries }));
    assert.equal((await client.query({ query: gql(ME) })).data.me.email, account.email);
  }
  return "POST, GET";
}

export async function mutation({ service }) {
  const client = open(new HttpLink(options(service, await newAccount(service))));
  const { data } = await client.mutate({ mutation: gql(CREATE), variables: { input: { title: "Milk" } } });
  assert.equal(data.createTodo.todo.title, "Milk");
}

/** apollo-upload-client sends a file among the variables as multipart/form-data. */
export async function upload({ service }) {
  const statuses = [];
  const recorded = async (uri, request) => {
    const response = await fetch(uri, request);
    statuses.push(response.status);
    return response;
  };
  const client = open(new UploadHttpLink({ ...options(service, await newAccount(service)), fetch: recorded }));
  const variables = { input: { title: new File(["Milk"], "milk.txt") } };
  await assert.rejects(client.mutate({ mutation: gql(CREATE), variables }), /Content-Type: application\/json/);
  assert.deepEqual(statuses, [415]);
  return "415";
}

/** Subscribes, and sends each change only after the one before it has arrived; returns the shortest delay. */
async function follow(client, account) {
  const events = new Events();
  const variables = { after: await account.after() };
  const handle = client.subscribe({ query: gql(CHANGES), variables }).subscribe({ next: events.next, error: events.fail });
  const delays = [];
  for (const title of ["Milk", "Bread", "Butter", "Salt", "Jam"]) {
    await account.createTodo(title);
    const written = performance.now();
    await events.expect(title);
    delays.push(performance.now() - written);
  }
  handle.unsubscribe();
  return Math.min(...delays);
}

export async function subscription({ service }) {
  const account = await newAccount(service);
  const delay = await follow(open(new HttpLink(options(service, account))), account);
  assert.ok(delay < 200, `the fastest of five events took ${delay} ms`);
  const socket = connect(service, account);
  await follow(open(new GraphQLWsLink(socket)), account);
  await socket.dispose();
  return "multipart, WebSocket";
}

export async function persisted({ service }) {
  const link = new PersistedQueryLink({ sha256, useGETForHashedQueries: true });
  const sent = [];
  const counted = (uri, request) => {
    sent.push(`${request.method} ${/\bquery=|"query":/.test(uri + request.body) ? "document" : "hash"}`);
    return fetch(uri, request);
  };
  const client = open(ApolloLink.from([link, new HttpLink({ uri: service.url, fetch: counted })]));
  const document = gql(`query Persisted${Date.now()} { me { name } }`);
  for (let n = 0; n < 2; n++) {
    assert.equal((await client.query({ query: document, fetchPolicy: "no-cache" })).data.me, null);
  }
  assert.deepEqual(sent, ["GET hash", "POST document", "GET hash"]);
  await runManifest();
  return "automatic, GET, manifest";
}

export async function batch({ service }) {
  let requests = 0;
  const counted = (uri, request) => {
    requests += 1;
    return fetch(uri, request);
  };
  const client = open(new BatchHttpLink({ uri: service.url, fetch: counted, batchInterval: 20 }));
  const queries = [1, 2, 3].map((n) => client.query({ query: gql(`query Q${n} { a${n}: me { id } }`) }));
  const answers = (await Promise.all(queries)).map(({ data }) => data);
  assert.deepEqual(answers, [{ a1: null }, { a2: null }, { a3: null }]);
  assert.equal(requests, 1);
}

/** The README's recipe: one refresh for all queries that fail, and for subscriptions over HTTP. */
export async function refresh({ short }) {
  const account = await newAccount(short);
  let refreshes = 0;
  let refreshing;
  async function renew() {
    refreshes += 1;
    await account.refresh();
  }
  const refreshLink = new ErrorLink(({ error, operation, forward }) => {
    const known = CombinedGraphQLErrors.is(error) || CombinedProtocolErrors.is(error);
    if (!known || !isExpired(error.errors)) return;
    const { authorization } = operation.getContext().headers;
    if (authorization !== bearer(account.tokens().accessToken).authorization) return forward(operation);
    refreshing ??= renew().finally(() => (refreshing = undefined));
    return from(refreshing).pipe(switchMap(() => forward(operation)));
  });
  const tokenLink = new ApolloLink((operation, forward) => {
    operation.setContext({ headers: bearer(account.tokens().accessToken) });
    return forward(operation);
  });
  const client = open(ApolloLink.from([refreshLink, tokenLink, new HttpLink({ uri: short.url })]));
  await account.expire();
  const answers = await Promise.all([1, 2, 3].map((n) => client.query({ query: gql(`query Me${n} { me { email } }`), fetchPolicy: "no-cache" })));
  assert.deepEqual(answers.map(({ data }) => data.me.email), Array(3).fill(account.email));
  assert.equal(refreshes, 1);

  const events = new Events();
  const variables = { after: await account.after() };
  const handle = client.subscribe({ query: gql(CHANGES), variables }).subscribe({ next: events.next, error: events.fail });
  while (refreshes === 1) await new Promise((resolve) => setTimeout(resolve, 20));
  await account.createTodo("Milk");
  await events.expect("Milk");
  handle.unsubscribe();
}
