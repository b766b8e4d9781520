// Clients against the real binary. Each does what it can; docs/clients.md has the table of it.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import * as altair from "./clients/altair.mjs";
import * as apollo from "./clients/apollo.mjs";
import * as plain from "./clients/fetch.mjs";
import * as graphiql from "./clients/graphiql.mjs";
import * as graphqlSse from "./clients/graphql-sse.mjs";
import * as graphqlWs from "./clients/graphql-ws.mjs";
import * as playground from "./clients/playground.mjs";
import * as relay from "./clients/relay.mjs";
import * as subscriptionsTransportWs from "./clients/subscriptions-transport-ws.mjs";
import * as urql from "./clients/urql.mjs";
import { launch } from "./chromium.mjs";
import { start } from "./service.mjs";

/** Each exports its name, its package, and a function for each column that it can do, which returns the cell's text. */
const CLIENTS = [apollo, urql, relay, graphqlWs, subscriptionsTransportWs, graphqlSse, altair, playground, graphiql, plain];
const COLUMNS = {
  query: "query",
  mutation: "mutation",
  upload: "upload refused",
  subscription: "subscription",
  persisted: "persisted",
  batch: "batch",
  refresh: "auth refresh",
};
const DOCUMENT = new URL("../../docs/clients.md", import.meta.url);
const MARKERS = ["<!-- made by tests/e2e: UPDATE_CLIENTS=1 npm test -->\n", "<!-- end -->"];

const world = {};
before(async () => {
  const settings = { RATE_LIMITS: "off" };
  [world.service, world.short, world.browser] = await Promise.all([
    start("todo-api", settings),
    start("todo-api", { ...settings, ACCESS_TOKEN_TTL: "2s" }),
    launch(),
  ]);
});
after(async () => {
  await world.browser?.close();
  await Promise.all([world.service?.stop(), world.short?.stop()]);
});

const cells = new Map();
for (const client of CLIENTS) {
  for (const [column, title] of Object.entries(COLUMNS).filter(([column]) => client[column])) {
    test(`${client.name}: ${title}`, { timeout: 60_000 }, async () => {
      cells.set(`${client.name} ${column}`, (await client[column](world)) ?? "yes");
    });
  }
}

/** The client's name, with package and version if it is one of the tests' packages. */
function label({ name, source }, { dependencies }) {
  const tested = `\`${source}\` ${dependencies[source]}`;
  if (!source) return name;
  return name === source ? tested : `${name} (${tested})`;
}

test("docs/clients.md says what the clients did", async () => {
  const packages = JSON.parse(await readFile("package.json", "utf8"));
  const row = (entries) => `| ${entries.join(" | ")} |\n`;
  const cell = (client, column) => (client[column] ? cells.get(`${client.name} ${column}`) ?? "failed" : "-");
  const rows = CLIENTS.map((client) => row([label(client, packages), ...Object.keys(COLUMNS).map((column) => cell(client, column))]));
  const titles = ["client", ...Object.values(COLUMNS)];
  const table = row(titles) + row(titles.map(() => "---")) + rows.join("");

  const text = await readFile(DOCUMENT, "utf8");
  const [before, rest] = text.split(MARKERS[0]);
  const [written, after] = rest.split(MARKERS[1]);
  if (process.env.UPDATE_CLIENTS) await writeFile(DOCUMENT, before + MARKERS[0] + table + MARKERS[1] + after);
  else assert.equal(written, table, "docs/clients.md differs; if that is meant: UPDATE_CLIENTS=1 npm test");
});
