// GraphiQL with a session: the access token of a register or login goes along with all further requests, until
// the tab is closed or the button is pressed.
(() => {
  const KEY = "todo-api:access-token";
  const bar = document.getElementById("session");

  const token = () => sessionStorage.getItem(KEY);

  function setToken(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
    showSession();
  }

  function subjectOf(accessToken) {
    try {
      const payload = accessToken.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
      return JSON.parse(atob(payload)).sub;
    } catch {
      return "?";
    }
  }

  function showSession() {
    const text = document.createElement("span");
    bar.replaceChildren(text);
    if (!token()) {
      text.textContent = "Not logged in: run Register or Log in, and the requests after it carry the token.";
      return;
    }
    text.textContent = `Logged in as user ${subjectOf(token())}.`;
    const button = document.createElement("button");
    button.textContent = "Forget the token";
    button.addEventListener("click", () => setToken(null));
    bar.append(button);
  }

  // A header typed into the editor wins.
  function withToken(headers) {
    const own = new Headers(headers);
    if (token() && !own.has("authorization")) own.set("authorization", `Bearer ${token()}`);
    // What browser mode asks of requests that use its cookie.
    own.set("apollo-require-preflight", "true");
    return own;
  }

  // The only field of this name in the schema is that of an opened session.
  function findToken(data) {
    const found = Object.values(data ?? {}).find((value) => typeof value?.accessToken === "string");
    return found?.accessToken;
  }

  async function fetchWithToken(url, options) {
    const response = await fetch(url, { ...options, headers: withToken(options.headers) });
    response
      .clone()
      .json()
      .then((result) => findToken(result.data) && setToken(findToken(result.data)))
      .catch(() => {});
    return response;
  }

  const examples = [
    `# Register: makes an account and opens its first session.
mutation Register {
  register(input: { email: "ada@example.com", password: "correct horse battery staple", name: "Ada" }) {
    user { id email name }
    accessToken
    expiresAt
  }
}
`,
    `# Log in: opens another session.
mutation LogIn {
  login(input: { email: "ada@example.com", password: "correct horse battery staple" }) {
    user { id email name }
    accessToken
    expiresAt
  }
}
`,
    `# Me: who the access token says you are.
query Me {
  me { id email name createdAt updatedAt }
}
`,
  ];

  const socket = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/graphql/ws`;
  const fetcher = GraphiQL.createFetcher({
    url: "/graphql",
    fetch: fetchWithToken,
    subscriptionUrl: socket,
    // Read anew for each socket, so that one opened after a login carries its token.
    wsConnectionParams: {
      get authorization() {
        return token() ? `Bearer ${token()}` : undefined;
      },
    },
  });

  showSession();
  const root = ReactDOM.createRoot(document.getElementById("graphiql"));
  root.render(
    React.createElement(GraphiQL, {
      fetcher,
      defaultTabs: examples.map((query) => ({ query })),
      defaultEditorToolsVisibility: true,
      shouldPersistHeaders: false,
    }),
  );
})();
