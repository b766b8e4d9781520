// GraphQL Playground, on another origin than the service. Live changes speak the older WebSocket protocol.
import { fileURLToPath } from "node:url";
import { byHand, enter, serve } from "./browser.mjs";

export const name = "GraphQL Playground";
export const source = "graphql-playground-react";

const build = fileURLToPath(new URL("../node_modules/graphql-playground-react/build", import.meta.url));

async function open(page, server, account) {
  await serve(
    page,
    build,
    `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/static/css/index.css"><div id="root"></div>
     <script src="/static/js/middleware.js"></script>
     <script>GraphQLPlayground.init(document.getElementById("root"), { endpoint: "${server.url}" })</script>`,
  );
  await page.getByText("HTTP HEADERS").click();
  const editors = page.locator(".CodeMirror");
  await enter(page, editors.nth(1), JSON.stringify(account.headers()));
  return {
    result: page.locator(".CodeMirror", { hasText: '"data"' }),
    async run(document) {
      await enter(page, editors.first(), document);
      await page.getByTitle("Execute Query (Ctrl-Enter)").click();
    },
  };
}

export const { query, mutation, subscription } = byHand(open);
