// The audit suite of graphql-http: every MUST, SHOULD and MAY passes.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { serverAudits } from "graphql-http";
import { start } from "./service.mjs";

let service;
before(async () => {
  service = await start();
});
after(() => service.stop());

test("every audit of GraphQL over HTTP passes", async () => {
  const rows = [];
  for (const audit of serverAudits({ url: () => service.url, fetchFn: fetch })) {
    const result = await audit.fn();
    rows.push({ id: audit.id, audit: audit.name, status: result.status, reason: result.reason ?? "" });
  }
  for (const row of rows) console.log(`${row.status.padEnd(6)} ${row.id}  ${row.audit} ${row.reason}`);
  const failed = rows.filter((row) => row.status !== "ok");
  assert.deepEqual(failed, []);
  assert.ok(rows.length >= 60, `only ${rows.length} audits ran`);
});
