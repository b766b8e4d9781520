// The IDE in a real Chromium that reaches nothing but the service.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { start } from "./service.mjs";

const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
let service, browser;

before(async () => {
  service = await start();
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
  await service?.stop();
});

test("register, log in and me run by clicking, with every other host blocked", async () => {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const foreign = [];
  const complaints = [];
  await page.route("**/*", (route) => {
    const url = new URL(route.request().url());
    if (url.host === service.address || url.protocol === "data:") return route.continue();
    foreign.push(url.href);
    return route.abort();
  });
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));

  await page.goto(`http://${service.address}/`);
  const run = page.locator("button.graphiql-execute-button");
  const result = page.locator(".graphiql-response .result-window");
  const editor = page.locator(".graphiql-query-editor");
  // The editor follows the tab a moment later.
  const open = async (name) => {
    await page.locator(".graphiql-tab-button", { hasText: name }).click();
    await editor.locator(".cm-def", { hasText: name }).waitFor();
  };

  // For some 100 ms after a change of tabs GraphiQL still sends the other tab's operationName.
  const runUntil = async (text) => {
    for (let tries = 0; tries < 30; tries++) {
      await run.click();
      const seen = await result.getByText(text).waitFor({ timeout: 1000 }).then(() => true, () => false);
      if (seen) return;
    }
    assert.fail(`${text} never came: ${await result.textContent()}`);
  };

  await open("Register");
  await run.click();
  await result.getByText('"accessToken"').waitFor();
  await page.getByText("Logged in as user").waitFor();

  await open("LogIn");
  await runUntil('"login"');

  await open("Me");
  await runUntil('"me"');
  await result.getByText('"ada@example.com"').waitFor();

  // The schema has been read: the documentation knows the types.
  await page.getByLabel("Show Documentation Explorer").click();
  await page.locator(".graphiql-doc-explorer").getByText("Mutation", { exact: true }).first().waitFor();

  await mkdir("screenshots", { recursive: true });
  await page.screenshot({ path: "screenshots/graphiql.png" });
  assert.deepEqual(foreign, [], "another host was asked for");
  assert.deepEqual(complaints, [], "the console complains");
});
