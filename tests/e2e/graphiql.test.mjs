// The IDE in a real Chromium that can reach only the service.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { start } from "./service.mjs";

const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
let service, live, browser;

before(async () => {
  [service, live] = await Promise.all([start(), start("examples/test_schema")]);
  browser = await chromium.launch({
    executablePath,
    args: [
      ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});
after(async () => {
  await browser?.close();
  await Promise.all([service?.stop(), live?.stop()]);
});

/** A page that reaches one server alone, and what it would rather have had. */
async function open(server) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const foreign = [];
  const complaints = [];
  await page.route("**/*", (route) => {
    const url = new URL(route.request().url());
    if (url.host === server.address || url.protocol === "data:") return route.continue();
    foreign.push(url.href);
    return route.abort();
  });
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`http://${server.address}/`);
  const run = page.locator("button.graphiql-execute-button");
  const result = page.locator(".graphiql-response .result-window");
  return {
    page,
    run,
    result,
    editor: page.locator(".graphiql-query-editor"),
    // GraphiQL sends the previous operationName for some 100 ms after a change of its editor.
    async runUntil(seen) {
      for (let tries = 0; tries < 30; tries++) {
        await run.click();
        const found = await seen.waitFor({ timeout: 1000 }).then(() => true, () => false);
        if (found) return;
      }
      assert.fail(`it never came: ${await result.textContent()}`);
    },
    assertContent() {
      assert.deepEqual(foreign, [], "another host was asked for");
      assert.deepEqual(complaints, [], "the console complains");
    },
  };
}

test("register, log in and me run by clicking, with every other host blocked", async () => {
  const { page, run, runUntil, editor, result, assertContent } = await open(service);
  // The editor follows the tab a moment later.
  const openTab = async (name) => {
    await page.locator(".graphiql-tab-button", { hasText: name }).click();
    await editor.locator(".cm-def", { hasText: name }).waitFor();
  };

  await openTab("Register");
  await run.click();
  await result.getByText('"accessToken"').waitFor();
  await page.getByText("Logged in as user").waitFor();

  await openTab("LogIn");
  await runUntil(result.getByText('"login"'));

  await openTab("Me");
  await runUntil(result.getByText('"me"'));
  await result.getByText('"ada@example.com"').waitFor();

  // The schema has been read: the documentation knows the types.
  await page.getByLabel("Show Documentation Explorer").click();
  await page.locator(".graphiql-doc-explorer").getByText("Mutation", { exact: true }).first().waitFor();

  await mkdir("screenshots", { recursive: true });
  await page.screenshot({ path: "screenshots/graphiql.png" });
  assertContent();
});

test("a subscription runs over the WebSocket", async () => {
  const { page, runUntil, editor, result, assertContent } = await open(live);
  await editor.locator(".CodeMirror-code").click();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("subscription Count { count(to: 3) ");
  await page.keyboard.press("Escape");
  await editor.locator(".cm-def", { hasText: "Count" }).waitFor();
  await runUntil(result.locator(".cm-number", { hasText: /^3$/ }));
  assertContent();
});
