// relay-runtime, with artifacts of relay-compiler.
import assert from "node:assert/strict";
import { after } from "node:test";
import { pathToFileURL } from "node:url";
import relay from "relay-runtime";
import { start } from "../service.mjs";
import { workspace } from "../tools.mjs";
import { connect } from "./graphql-ws.mjs";
import { CHANGES, CREATE, Events, isExpired, ME, newAccount, send } from "./world.mjs";

export const name = "Relay";
export const source = "relay-runtime";

const { commitMutation, Environment, fetchQuery, Network, Observable, RecordSource, requestSubscription, Store } = relay;

/** Compiles the documents; relay-compiler wants their names to begin with the file's. */
async function compile(config) {
  const documents = [ME, CREATE, CHANGES].map((text) =>
    text.replace(/^(query|mutation|subscription) (\w+)/, (_, kind, name) => `${kind} app${name}${kind[0].toUpperCase()}${kind.slice(1)}`),
  );
  const tools = await workspace({
    "relay.config.json": { src: "src", schema: "schema.graphql", language: "javascript", eagerEsModules: true, artifactDirectory: "artifacts", ...config },
    "src/app.js": `import { graphql } from "relay-runtime"; ${documents.map((text) => `graphql\`${text}\`;`).join("\n")}`,
    "artifacts/package.json": { type: "module" },
    "persisted.json": {},
  });
  await tools.run("relay-compiler", "relay.config.json");
  after(tools.remove);
  const load = async (name) => (await import(pathToFileURL(tools.path(`artifacts/${name}.graphql.js`)))).default;
  return {
    me: await load("appMeQuery"),
    create: await load("appCreateMutation"),
    changes: await load("appChangesSubscription"),
    manifest: tools.path("persisted.json"),
  };
}

let compiled;
const artifacts = () => (compiled ??= compile({}));

const open = (fetchFunction, subscribeFunction) =>
  new Environment({ network: Network.create(fetchFunction, subscribeFunction), store: new Store(new RecordSource()) });

const post = (server, account) => (operation, variables) =>
  send(server.url, { query: operation.text, variables }, account.headers());

export async function query({ service }) {
  const account = await newAccount(service);
  const data = await fetchQuery(open(post(service, account)), (await artifacts()).me, {}).toPromise();
  assert.equal(data.me.email, account.email);
}

export async function mutation({ service }) {
  const environment = open(post(service, await newAccount(service)));
  const { create } = await artifacts();
  const data = await new Promise((onCompleted, onError) =>
    commitMutation(environment, { mutation: create, variables: { input: { title: "Milk" } }, onCompleted, onError }),
  );
  assert.equal(data.createTodo.todo.title, "Milk");
}

export async function subscription({ service }) {
  const account = await newAccount(service);
  const socket = connect(service, account);
  const subscribe = ({ text, name: operationName }, variables) =>
    Observable.create((sink) => socket.subscribe({ query: text, operationName, variables }, sink));
  const environment = open(post(service, account), subscribe);
  const events = new Events();
  const handle = requestSubscription(environment, {
    subscription: (await artifacts()).changes,
    variables: { after: await account.after() },
    onNext: (data) => events.next({ data }),
    onError: events.fail,
  });
  for (const title of ["Milk", "Bread"]) {
    await account.createTodo(title);
    await events.expect(title);
  }
  handle.dispose();
  await socket.dispose();
  return "WebSocket";
}

/** With relay-compiler's own list of persisted documents, and no other document accepted. */
export async function persisted() {
  const { me, manifest } = await compile({ persistConfig: { file: "persisted.json", algorithm: "SHA256" } });
  assert.equal(me.params.text, null);
  const service = await start("todo-api", { TRUSTED_DOCUMENTS: manifest });
  try {
    const byId = (operation, variables) => send(service.url, { documentId: operation.id, variables });
    assert.deepEqual(await fetchQuery(open(byId), me, {}).toPromise(), { me: null });
    const { errors } = await send(service.url, { query: "{ me { id } }" });
    assert.equal(errors[0].extensions.code, "QUERY_NOT_IN_SAFELIST");
  } finally {
    await service.stop();
  }
  return "manifest";
}

export async function refresh({ short }) {
  const account = await newAccount(short);
  await account.expire();
  const refreshing = async (operation, variables) => {
    const result = await post(short, account)(operation, variables);
    if (!isExpired(result.errors)) return result;
    await account.refresh();
    return post(short, account)(operation, variables);
  };
  const data = await fetchQuery(open(refreshing), (await artifacts()).me, {}).toPromise();
  assert.equal(data.me.email, account.email);
}
