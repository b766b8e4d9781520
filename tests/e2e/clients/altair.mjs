// Altair, on another origin than the service. Live changes speak the older WebSocket protocol.
import assert from "node:assert/strict";
import { getDistDirectory, renderAltair } from "altair-static";
import { byHand, enter, serve } from "./browser.mjs";
import { newAccount } from "./world.mjs";

export const name = "Altair";
export const source = "altair-static";

async function open(page, server, account) {
  await serve(page, getDistDirectory(), renderAltair());
  await enter(page, page.locator("[track-id=set_url] .cm-content"), server.url);
  await page.getByText("Auth", { exact: true }).click();
  await page.locator("nz-select[formcontrolname=type]").click();
  await page.getByText("Bearer Token", { exact: true }).click();
  await enter(page, page.locator("#token .cm-content"), account.tokens().accessToken);
  await page.getByText("Query", { exact: true }).first().click();
  const send = page.getByRole("button", { name: "Send Request" });
  return {
    result: page.locator("app-query-result"),
    async run(document) {
      await enter(page, page.locator("app-query-editor .cm-content").first(), document);
      await send.click();
      if (!document.startsWith("subscription")) return;
      // The first subscription asks where to connect.
      const dialog = page.getByRole("dialog");
      await enter(page, dialog.locator("[aria-placeholder^='ws://']"), server.url.replace("http", "ws"));
      await enter(page, dialog.locator(".cm-content").last(), JSON.stringify(account.headers()));
      await dialog.getByRole("button", { name: "Save" }).click();
      await send.click();
    },
  };
}

export const { query, mutation, subscription } = byHand(open);

export async function upload({ service, browser }) {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const { run } = await open(page, service, await newAccount(service));
  await page.getByText("Variables", { exact: true }).click();
  await page.getByText("Add files").click();
  await page.locator("[data-tid=file_name]").fill("title");
  const file = { name: "milk.txt", mimeType: "text/plain", buffer: Buffer.from("Milk") };
  await page.locator("input[type=file]").setInputFiles(file);
  const refused = page.waitForResponse((response) => response.status() === 415);
  await run("mutation Create($title: String!) { createTodo(input: { title: $title }) { todo { id } } }");
  assert.match((await refused).request().headers()["content-type"], /^multipart\/form-data/);
  await page.close();
  return "415";
}
