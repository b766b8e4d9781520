// Apollo Client with a manifest of Apollo's generator, against a service that runs only what it lists.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { generatePersistedQueryIdsFromManifest } from "@apollo/persisted-query-lists";
import { start } from "../service.mjs";
import { workspace } from "../tools.mjs";
import { ME, send } from "./world.mjs";

export async function runManifest() {
  const tools = await workspace({ "src/me.js": `import { gql } from "@apollo/client"; export const me = gql\`${ME}\`;` });
  await tools.run("generate-persisted-query-manifest");
  const manifest = tools.path("persisted-query-manifest.json");
  const service = await start("todo-api", { TRUSTED_DOCUMENTS: manifest });
  try {
    const ids = generatePersistedQueryIdsFromManifest({ loadManifest: async () => JSON.parse(await readFile(manifest, "utf8")) });
    let sent = "";
    const recorded = (uri, options) => {
      sent += options.body;
      return fetch(uri, options);
    };
    const link = ApolloLink.from([new PersistedQueryLink(ids), new HttpLink({ uri: service.url, fetch: recorded })]);
    const client = new ApolloClient({ link, cache: new InMemoryCache() });
    assert.equal((await client.query({ query: gql(ME) })).data.me, null);
    assert.ok(!sent.includes("query Me"), sent);
    const { errors } = await send(service.url, { query: "{ me { id } }" });
    assert.equal(errors[0].extensions.code, "QUERY_NOT_IN_SAFELIST");
  } finally {
    await service.stop();
    await tools.remove();
  }
}
