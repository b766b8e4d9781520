// The session of the IDE: its access token goes with every request and is refreshed once it has expired.

// sessionStorage keeps the access token over a reload, for this tab only: it expires soon, and the page's policy admits
// no script but the service's own. The refresh token lasts for weeks and stays in memory. So after a reload the session
// ends with its access token, except in browser mode, where a cookie holds the refresh token.
const KEY = "todo-api:access-token";
let refreshToken;
let refreshing;

export const token = () => sessionStorage.getItem(KEY);

/** Dispatches `change` when a session begins, is refreshed or ends; `detail` says why it ended. */
export const events = new EventTarget();

function begin(tokens) {
  sessionStorage.setItem(KEY, tokens.accessToken);
  // Empty in browser mode.
  refreshToken = tokens.refreshToken || undefined;
  events.dispatchEvent(new CustomEvent("change"));
}

function end(reason) {
  sessionStorage.removeItem(KEY);
  refreshToken = undefined;
  events.dispatchEvent(new CustomEvent("change", { detail: reason }));
}

const ENDED = "Your session has ended. Sign in again.";

const findRefusal = (result) => result?.errors?.find(({ extensions }) => extensions?.code === "UNAUTHENTICATED");

/** Adds the session's token, unless the editor has a header of its own, and asks for the operation's cost. */
export function withSession(headers, accessToken) {
  const own = new Headers(headers);
  if (accessToken && !own.has("authorization")) own.set("authorization", `Bearer ${accessToken}`);
  own.set("x-graphql-cost", "1");
  return own;
}

/** `fetch` with the session's token; refreshes the token and repeats the request if it has expired. */
export async function fetchWithSession(url, options) {
  const used = new Headers(options.headers).has("authorization") ? null : token();
  const attempt = async (accessToken) => {
    const response = await fetch(url, { ...options, headers: withSession(options.headers, accessToken) });
    return { response, result: await response.clone().json().catch(() => null) };
  };
  let { response, result } = await attempt(used);
  const refusal = findRefusal(result);
  // An error of `refreshSession` is about the token in its input.
  if (used && refusal && refusal.path?.[0] !== "refreshSession") {
    if (refusal.extensions.reason !== "EXPIRED") endIfCurrent(used);
    else if (await renew(used)) ({ response, result } = await attempt(token()));
  }
  // In the schema, only payloads that open or refresh a session have `accessToken`.
  const opened = Object.values(result?.data ?? {}).find((value) => typeof value?.accessToken === "string");
  if (opened) begin(opened);
  return response;
}

const endIfCurrent = (accessToken) => token() === accessToken && end(ENDED);

/** Replaces an expired token, once for all callers. Returns the current token, or null if the session has ended. */
export async function renew(expired) {
  if (expired && token() === expired) {
    refreshing ??= refresh(expired).finally(() => (refreshing = undefined));
    await refreshing;
  }
  return token();
}

const REFRESH = `mutation Refresh($input: RefreshSessionInput) {
  refreshSession(input: $input) { accessToken refreshToken }
}`;

async function refresh(expired) {
  try {
    const { refreshSession } = await run(REFRESH, { input: refreshToken && { refreshToken } }, fetch);
    // Not after a sign-out or another login meanwhile.
    if (token() === expired) begin(refreshSession);
  } catch (error) {
    if (!findRefusal(error)) throw error;
    endIfCurrent(expired);
  }
}

/** Runs one of the IDE's own operations; an error of it has all `errors`. */
async function run(query, variables, send = fetchWithSession) {
  const response = await send("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  if (errors) throw Object.assign(new Error(errors[0].message), { errors });
  return data;
}

export async function signIn(email, password) {
  const document = "mutation SignIn($input: LoginInput!) { login(input: $input) { accessToken refreshToken } }";
  await run(document, { input: { email, password } });
}

export async function signOut() {
  try {
    await run("mutation SignOut { logout { revokedSessionIds } }");
  } catch (error) {
    if (!findRefusal(error)) throw error;
  }
  end("Signed out.");
}

export const fetchEmail = async () => (await run("query SignedIn { me { email } }")).me?.email;
