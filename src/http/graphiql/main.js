// GraphiQL with a session and prepared tabs.
import { fetchWithSession, renew, token, withSession } from "./session.js";
import { TABS } from "./tabs.js";
import "./strip.js";

/** WebSocket client of one run, with the headers of its tab. */
function connect(headers) {
  const url = new URL("/graphql/ws", location);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  let used = token();
  let refused = false;
  const client = graphqlWs.createClient({
    url: url.href,
    // The service closes a socket with 4403 when its token expires; the client then reconnects, with a new token.
    async connectionParams() {
      used = refused ? await renew(used) : token();
      return Object.fromEntries(withSession(headers, used));
    },
    on: { closed: ({ code }) => (refused = code === 4403) },
  });
  return {
    subscribe(request, sink) {
      const payload = { ...request };
      // The client sends the payload again when it reconnects: `after` resumes it after the last event.
      const next = (result) => {
        const after = result.data?.todoChanged?.eventId;
        if (after) payload.variables = { ...payload.variables, after };
        sink.next(result);
      };
      return client.subscribe(payload, { ...sink, next });
    },
  };
}

const fetcher = (request, options) =>
  GraphiQL.createFetcher({ url: "/graphql", fetch: fetchWithSession, wsClient: connect(options?.headers) })(
    request,
    options,
  );

const root = document.getElementById("graphiql");
if (globalThis.GraphiQL) {
  const props = { fetcher, defaultTabs: TABS, defaultEditorToolsVisibility: true, shouldPersistHeaders: false };
  ReactDOM.createRoot(root).render(React.createElement(GraphiQL, props));
} else {
  root.textContent = "GraphiQL could not be loaded.";
}
