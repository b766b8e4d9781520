// Shared by all clients: accounts, documents, and a subscription's events.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

export const ME = "query Me { me { email } }";
export const CREATE = `mutation Create($input: CreateTodoInput!) {
  createTodo(input: $input) { todo { id title } }
}`;
export const CHANGES = `subscription Changes($after: ID) {
  todoChanged(after: $after) { eventId kind todo { id title } }
}`;
export const REFRESH = `mutation Refresh($refreshToken: String!) {
  refreshSession(input: { refreshToken: $refreshToken }) { accessToken refreshToken }
}`;

export const sha256 = (text) => createHash("sha256").update(text).digest("hex");
export const bearer = (accessToken) => ({ authorization: `Bearer ${accessToken}` });
export const isExpired = (errors) => errors?.some(({ extensions }) => extensions?.reason === "EXPIRED") ?? false;

/** Sends one request; returns the response's JSON. */
export async function send(url, body, headers = {}) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return response.json();
}

const REGISTER = `mutation Register($input: RegisterInput!) {
  register(input: $input) { accessToken refreshToken }
}`;
const LOG_IN = "mutation LogIn($input: LoginInput!) { login(input: $input) { accessToken } }";

let accounts = 0;

/** A new account of a service: a session for the client, and one that changes todos behind the client's back. */
export async function newAccount({ url }) {
  const credentials = { email: `ada${(accounts += 1)}@example.com`, password: "correct horse battery staple" };
  async function run(query, variables, accessToken) {
    const { data, errors } = await send(url, { query, variables }, accessToken && bearer(accessToken));
    if (errors) throw Object.assign(new Error(JSON.stringify(errors)), { errors });
    return data;
  }
  let session = (await run(REGISTER, { input: { ...credentials, name: "Ada" } })).register;
  let other = session.accessToken;
  async function runBehind(query, variables) {
    try {
      return await run(query, variables, other);
    } catch (error) {
      if (!isExpired(error.errors)) throw error;
      other = (await run(LOG_IN, { input: credentials })).login.accessToken;
      return run(query, variables, other);
    }
  }
  return {
    ...credentials,
    /** Tokens of the session, as of the last refresh. */
    tokens: () => session,
    headers: () => bearer(session.accessToken),
    /** Where `todoChanged` begins, so that it misses nothing while it starts. */
    after: async () => (await runBehind("{ todos { eventId } }")).todos.eventId,
    createTodo: (title) => runBehind(CREATE, { input: { title } }),
    /** Refreshes the session, as the client's code would. */
    async refresh() {
      session = (await run(REFRESH, { refreshToken: session.refreshToken })).refreshSession;
    },
    /** Waits until the service refuses the access token. */
    async expire() {
      while (!isExpired((await send(url, { query: ME }, bearer(session.accessToken))).errors));
    },
  };
}

/** Collects what a subscription delivers, for a test that waits for it. */
export class Events {
  #titles = [];
  #wake = () => {};
  #failed;

  next = (result) => {
    if (result.errors) this.fail(result.errors);
    const title = result.data?.todoChanged?.todo.title;
    if (title) this.#titles.push(title);
    this.#wake();
  };
  fail = (error) => {
    this.#failed = error instanceof Error ? error : new Error(JSON.stringify(error));
    this.#wake();
  };

  /** Waits for the next event, which has to be about this todo. */
  async expect(title) {
    while (this.#titles.length === 0) {
      if (this.#failed) throw this.#failed;
      await new Promise((resolve) => (this.#wake = resolve));
    }
    assert.equal(this.#titles.shift(), title);
  }
}
