// Plain fetch, without a client library.
import assert from "node:assert/strict";
import { bearer, CHANGES, CREATE, Events, isExpired, ME, newAccount, send, sha256 } from "./world.mjs";

export const name = "`fetch`";

export async function query({ service }) {
  const account = await newAccount(service);
  assert.equal((await send(service.url, { query: ME }, account.headers())).data.me.email, account.email);
  const url = `${service.url}?${new URLSearchParams({ query: ME })}`;
  const { data } = await (await fetch(url, { headers: account.headers() })).json();
  assert.equal(data.me.email, account.email);
  return "POST, GET";
}

export async function mutation({ service }) {
  const account = await newAccount(service);
  const { data } = await send(service.url, { query: CREATE, variables: { input: { title: "Milk" } } }, account.headers());
  assert.equal(data.createTodo.todo.title, "Milk");
}

export async function upload({ service }) {
  const account = await newAccount(service);
  const body = new FormData();
  body.set("operations", JSON.stringify({ query: CREATE, variables: { input: { title: null } } }));
  body.set("map", JSON.stringify({ 0: ["variables.input.title"] }));
  body.set("0", new Blob(["Milk"]), "milk.txt");
  const { status } = await fetch(service.url, { method: "POST", body, headers: account.headers() });
  assert.equal(status, 415);
  return "415";
}

export async function subscription({ service }) {
  const account = await newAccount(service);
  const controller = new AbortController();
  const response = await fetch(service.url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream", ...account.headers() },
    body: JSON.stringify({ query: CHANGES, variables: { after: await account.after() } }),
    signal: controller.signal,
  });
  assert.match(response.headers.get("content-type"), /^text\/event-stream/);
  const events = new Events();
  const reading = (async () => {
    let text = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const data = text.slice(0, end).match(/^event: next\ndata: (.*)$/)?.[1];
        if (data) events.next(JSON.parse(data));
      }
    }
  })();
  for (const title of ["Milk", "Bread"]) {
    await account.createTodo(title);
    await events.expect(title);
  }
  controller.abort();
  await assert.rejects(reading, { name: "AbortError" });
  return "SSE";
}

export async function persisted({ service }) {
  const document = `# ${Math.random()}\n${ME}`;
  const extensions = { persistedQuery: { version: 1, sha256Hash: sha256(document) } };
  const { errors } = await send(service.url, { extensions });
  assert.equal(errors[0].extensions.code, "PERSISTED_QUERY_NOT_FOUND");
  assert.equal((await send(service.url, { query: document, extensions })).data.me, null);
  assert.equal((await send(service.url, { extensions })).data.me, null);
  return "automatic";
}

export async function batch({ service }) {
  const account = await newAccount(service);
  const answers = await send(service.url, [{ query: ME }, { query: "{ __typename }" }], account.headers());
  assert.deepEqual(answers.map(({ data }) => data), [{ me: { email: account.email } }, { __typename: "Query" }]);
}

export async function refresh({ short }) {
  const account = await newAccount(short);
  await account.expire();
  const ask = () => send(short.url, { query: ME }, bearer(account.tokens().accessToken));
  let answer = await ask();
  if (isExpired(answer.errors)) {
    await account.refresh();
    answer = await ask();
  }
  assert.equal(answer.data.me.email, account.email);
}
